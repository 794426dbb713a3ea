"""A tiny decoder with random weights: what must not be found there is not there, unless planted."""

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from traitsteer.world.model.blocks import find_blocks
from traitsteer.world.model.language_model import LanguageModel

VOCABULARY = 256


def random_model(layers: int, width: int, seed: int) -> LanguageModel:
    """A Llama of random weights that reads token ids below `VOCABULARY`; it has no tokenizer."""
    config = AutoConfig.for_model(
        "llama",
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).eval()
    scale_up(model, 8)
    return LanguageModel("random", model, None, find_blocks(model), False, f"random-{seed}")


@torch.no_grad()
def scale_up(model: nn.Module, by: float) -> None:
    """Multiply every matrix: at their usual size random blocks would hardly change anything."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.mul_(by)
