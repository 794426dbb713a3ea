"""A random-weight Llama that everybody loads from one folder, and token ids to feed it."""

from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ["<pad>", "<bos>", "<eos>"]
SCALE = 3.0
"""Times the usual size of the weights: at 1, greedy text soon repeats a single token."""


@dataclass(frozen=True)
class Shape:
    """A Llama with as many key and value heads as heads."""

    layers: int
    width: int
    heads: int
    inner: int
    vocabulary: int


FULL = Shape(layers=8, width=512, heads=8, inner=1376, vocabulary=4096)
QUICK = Shape(layers=3, width=64, heads=4, inner=96, vocabulary=512)


def write(folder: Path, shape: Shape, seed: int = 0) -> None:
    """Write the model and a byte-level tokenizer in the form that `save_pretrained` gives them."""
    words = tokenizer(shape.vocabulary)
    config = LlamaConfig(
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        vocab_size=shape.vocabulary,
        max_position_embeddings=2048,
        pad_token_id=words.pad_token_id,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        architectures=["LlamaForCausalLM"],
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(SCALE)
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    words.save_pretrained(folder)


def token_ids(shape: Shape, lengths: list[int], seed: int) -> list[list[int]]:
    """Random token ids of these lengths, none of them special."""
    generator = torch.Generator().manual_seed(seed)
    low, high = len(SPECIAL), shape.vocabulary
    return [torch.randint(low, high, (length,), generator=generator).tolist() for length in lengths]


def unit_vectors(layers: int, width: int, seed: int) -> list[list[float]]:
    """A random vector of norm 1 for each layer."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(layers, width, generator=generator)
    return (vectors / vectors.norm(dim=1, keepdim=True)).tolist()  # type: ignore[no-any-return]


def tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer without merges, filled up with names to this many tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*SPECIAL, *alphabet]
    tokens += [f"<{place}>" for place in range(len(tokens), vocabulary)]
    inner = Tokenizer(models.BPE(vocab={token: at for at, token in enumerate(tokens)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
    )
