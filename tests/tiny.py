"""Builds tiny random models of several architectures in the form that save_pretrained writes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

SPECIAL = ["<bos>", "<eos>", "<pad>", "<user>", "<assistant>", "<system>"]
CHAT = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} {{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"
)

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
OTHER: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "mistral": {"sliding_window": 64},
    "gemma2": {"head_dim": 8, "sliding_window": 64, "query_pre_attn_scalar": 8},
    "gemma3_text": {
        "head_dim": 8,
        "sliding_window": 24,
        "query_pre_attn_scalar": 8,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "phi3": {},
    "olmo2": {},
    "mixtral": {"num_local_experts": 3, "num_experts_per_tok": 2},
    "falcon": {},
    "gpt_neox": {"num_key_value_heads": 4},
    "gpt2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_inner": 48},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 3, "max_seq_len": 256},
    # The last blocks keep no keys, but read those of earlier ones.
    "gemma4_text": {
        "head_dim": 8,
        "global_head_dim": 16,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 262,
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 2,
        "sliding_window": 24,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
}
GPT_NEO: dict[str, Any] = {
    "num_heads": 4,
    "num_layers": 3,
    "window_size": 4,
    "attention_types": [[["global", "local"], 1], [["local"], 1]],
}
"""Not among `KINDS`: steps of fixed shapes are wrong for it."""
OWN_CACHE: dict[str, dict[str, Any]] = {
    "bloom": {"n_head": 4, "n_layer": 3},
    "falcon": {"alibi": True},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1},
    "gpt_bigcode": {"n_embd": 32, "n_layer": 3, "n_head": 4},
    "llama4_text": {
        "num_local_experts": 3,
        "layer_types": ["chunked_attention", "full_attention", "chunked_attention"],
        "attention_chunk_size": 8,
        "head_dim": 8,
    },
    "qwen3_next": {
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
    },
    "xglm": {"ffn_dim": 48, "num_layers": 3},
}
"""Not among `KINDS`: they run with the cache that `transformers` makes for them."""
VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
KINDS = sorted([*OTHER, "gemma3"])
Built = Callable[..., Path]
"""Takes what `build` does beside the folder and the seed; returns the folder."""


def tokenizer(merges: Sequence[tuple[str, str]] = ()) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with BOS, EOS and a chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*SPECIAL, *alphabet, *(a + b for a, b in merges)]
    vocabulary = {token: at for at, token in enumerate(tokens)}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
    made.add_special_tokens({"additional_special_tokens": SPECIAL[3:]})
    made.chat_template = CHAT
    return made


def build(folder: Path, kind: str, seed: int = 0, **changes: Any) -> None:
    """Write a random model of this architecture, large enough in its weights to vary its text."""
    torch.manual_seed(seed)
    words = tokenizer()
    shape = {} if kind in ("gpt2", "mpt") else dict(SHAPE)
    ids = {f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    shape |= {"vocab_size": len(words)} | ids | OTHER.get(kind, {}) | changes
    if kind == "gemma3":
        # A text decoder beside a vision tower of as many layers.
        text = shape | OTHER["gemma3_text"]
        shape = {"text_config": text, "vision_config": VISION, "mm_tokens_per_image": 4} | ids
    config = AutoConfig.for_model(kind, **shape)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
