"""What steered generation must equal: plain passes of one row, the vector added by a plain hook."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from traitsteer.engine.rows import Row, Sampling, Steering
from traitsteer.engine.sampling import choose
from traitsteer.world.model.language_model import LanguageModel

PROMPTS = ("the cat sees", "a big dog likes the small red cat and", "x", "never not the blue dog .")


def direction(seed: int, width: int = 32) -> torch.Tensor:
    vector = torch.randn(width, generator=torch.Generator().manual_seed(seed))
    return vector / vector.norm()


def mixed_rows(model: LanguageModel, coefficients: tuple[float, ...] = (0, 2, 6)) -> list[Row]:
    rows = []
    for number, prompt in enumerate(PROMPTS):
        for place, coefficient in enumerate(coefficients):
            for positions in ("all", "prompt", "response"):
                steering = Steering(
                    (number + place) % model.layers,
                    direction(place, model.width),
                    coefficient,
                    positions,
                )
                rows.append(Row(model.encode(prompt), 100 * number + place, steering))
    return rows


def hooks(model: LanguageModel) -> tuple[list, list]:
    """What is called after and before each module."""
    modules = list(model.model.modules())
    after = [list(module._forward_hooks.items()) for module in modules]
    return after, [list(module._forward_pre_hooks.items()) for module in modules]


@contextmanager
def batches(model: LanguageModel) -> Iterator[list[list[int]]]:
    """How many rows each block computes, for each pass."""
    seen: list[list[int]] = []

    def count(layer: int, hidden: torch.Tensor) -> None:
        if layer == 0:
            seen.append([])
        seen[-1].append(len(hidden))

    handles = [
        block.register_forward_pre_hook(
            lambda _m, args, kwargs, layer=layer: count(layer, args[0]), with_kwargs=True
        )
        for layer, block in enumerate(model.blocks)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def added_by_hand(
    model: LanguageModel, steering: Steering | None, prompt: int, first: int = 0
) -> Iterator[None]:
    """Add the vector, by a plain hook, to passes of one sequence that begin at its token `first`;
    `prompt` is the number of its prompt tokens.
    """
    if steering is None:
        yield
        return

    def add(_module: nn.Module, _inputs: object, output: Any) -> Any:
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        length = first + hidden.shape[1]
        start, end = {"all": (0, length), "prompt": (0, prompt), "response": (prompt, length)}[
            steering.positions
        ]
        added = (steering.coefficient * steering.vector).to(hidden.device)
        hidden[:, max(0, start - first) : max(0, end - first)] += added
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handle = model.blocks[steering.layer].register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


@torch.inference_mode()
def slow_reference(
    model: LanguageModel, row: Row, sampling: Sampling, cached: bool = False
) -> tuple[int, ...]:
    """Plain passes to which the vector is added by hand: of the whole sequence at each step, or
    of its newest token with the cache that transformers makes for the model.
    """
    ids = list(row.prompt_ids)
    cache = None
    for step in range(sampling.max_new_tokens):
        first = len(ids) - 1 if cached and step else 0
        new = torch.tensor([ids[first:]], device=model.device)
        with added_by_hand(model, row.steering, len(row.prompt_ids), first):
            out = model.model(input_ids=new, past_key_values=cache, use_cache=cached)
        logits, cache = out.logits[:, -1], out.past_key_values if cached else None
        seed, told = (torch.tensor([each], device=model.device) for each in (row.seed, step))
        token = int(choose(logits, seed, told, sampling)[0])
        if token in model.end_ids:
            break
        ids.append(token)
    return tuple(ids[len(row.prompt_ids) :])
