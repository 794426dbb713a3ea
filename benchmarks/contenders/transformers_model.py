"""The model as transformers loads it, for every contender that builds on it."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM

from benchmarks.tasks import Steering


def loaded(folder: str) -> Any:  # noqa: ANN401 - a model class chosen by its configuration
    """The model of a folder in float32, without gradients."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval().requires_grad_(False)


def generation(task: Steering, pad: int) -> dict[str, Any]:
    """What `generate` is asked for: greedy answers, their length and ends."""
    return {
        "max_new_tokens": task.new_tokens,
        "do_sample": False,
        "eos_token_id": task.ends or None,
        "pad_token_id": pad,
    }
