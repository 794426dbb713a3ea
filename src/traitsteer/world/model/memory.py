"""What a model needs of a device's memory, told before its weights are read."""

import copy
import logging
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from traitsteer.maths.memory import GIB, SPARE, Footprint, Sizes
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Quantisation
from traitsteer.world.model.blocks import find_blocks

_LOG = logging.getLogger(__name__)
_BYTES_A_WEIGHT = {"int8": 1.0, "int4": 0.5 + 4 / 64}
"""Four bits come with a float32 scale for each block of 64."""


def sizes_of(skeleton: Any, quantisation: Quantisation, blocks: str | None = None) -> Sizes:  # noqa: ANN401
    """Count a model on the meta device.

    Raises:
        TraitsteerError: its decoder blocks cannot be found, or none of them attends.
    """
    config = skeleton.config.get_text_config()
    found = find_blocks(skeleton, blocks)
    widest = max(
        (max(p.shape) for block in found for p in block.parameters() if p.dim() > 1), default=0
    )
    cached_width, state = _kept(skeleton) or (
        sum(map(_cached_width, _keeping(config, len(found)))),
        0,
    )
    return Sizes(
        weights=_weights(skeleton, quantisation),
        width=config.hidden_size,
        inner=widest,
        cached_width=cached_width,
        vocabulary=config.vocab_size,
        bytes_each=skeleton.dtype.itemsize,
        state=state,
    )


def told(name: str, needed: Footprint, place: str, free: int | None) -> str:
    """The estimate as one line; `free` bytes are free at the place."""
    load = needed.load
    beside = f"the judge's weights beside it {_gib(needed.beside)}, " if needed.beside else ""
    kept = f"keys and values of {load.rows} rows x {load.columns} tokens {_gib(needed.cached)}"
    there = "how much is free is not known" if free is None else f"{_gib(free)} are free"
    return (
        f"{name} needs about {_gib(needed.total)}: weights {_gib(needed.weights)}, {beside}"
        f"{kept}, a pass of {load.tokens} tokens {_gib(needed.passing)}; on {place} {there}"
    )


def require(name: str, needed: Footprint, place: str, free: int | None) -> None:
    """Refuse what does not fit.

    Raises:
        TraitsteerError: more is needed than is free; the message says what to change.
    """
    if free is None or needed.total <= free:
        return
    if (needed.weights + needed.beside) * SPARE > free:
        change = (
            "choose a dtype of two bytes, models.quantisation int8 or int4, several GPUs by "
            "models.device balanced, or a smaller model or judge"
        )
    elif tokens := needed.tokens_that_fit(free):
        change = f"set models.rows to {needed.with_tokens(tokens).rows_that_fit(free)}"
        if tokens < needed.load.tokens:
            change += f" and models.tokens to {tokens}"
        change += ", which changes no result but by rounding"
    else:
        change = "choose shorter responses or a smaller model"
    raise TraitsteerError(f"{told(name, needed, place, free)}; {change}.")


def _weights(skeleton: Any, quantisation: Quantisation) -> int:  # noqa: ANN401
    """Bytes of all parameters; those of linear layers but the last, and experts on disk, shrink."""
    shrunk: set[int] = set()
    each = _bytes_a_weight(skeleton.config, quantisation)
    if each is not None:
        kept = skeleton.get_output_embeddings()
        shrunk = {
            id(module.weight)
            for module in skeleton.modules()
            if module is not kept and isinstance(module, nn.Linear | Conv1D)
        }
        if quantisation == "none" and _method_on_disk(skeleton.config) != "bitsandbytes":
            # Others pack the experts too, which are parameters of no linear layer.
            shrunk |= {id(expert) for expert in skeleton.parameters() if expert.dim() > 2}
    total = 0.0
    for parameter in skeleton.parameters():
        shrinks = each is not None and id(parameter) in shrunk
        total += parameter.numel() * (each if shrinks else parameter.dtype.itemsize)
    return round(total)


def _bytes_a_weight(config: Any, quantisation: Quantisation) -> float | None:  # noqa: ANN401
    """Of a linear layer; None where it is not quantised, neither by us nor on disk."""
    if quantisation != "none":
        return _BYTES_A_WEIGHT[quantisation]
    known = _on_disk(config)
    if not known:
        return None
    if _method_on_disk(config) == "fp8" and not _multiplies_fp8():
        return None
    bits = known.get("bits") or (4 if known.get("load_in_4bit") else 8)
    return float(bits / 8 + 4 / 64)


def _on_disk(config: Any) -> dict[str, Any]:  # noqa: ANN401
    """How the weights are quantised on disk; empty where they are not."""
    own = getattr(config, "quantization_config", None) or {}
    return own if isinstance(own, dict) else dict(own.to_dict())


def _method_on_disk(config: Any) -> str:  # noqa: ANN401
    return str(_on_disk(config).get("quant_method", ""))


def _multiplies_fp8() -> bool:
    """False without a GPU and on older ones: `transformers` widens the weights to 16 bits there."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 9)


@torch.inference_mode()
def _kept(skeleton: Any) -> tuple[int, int] | None:  # noqa: ANN401
    """Numbers kept for each token and bytes for each row, as seen in a pass over two tokens.

    None of a model that makes no such cache, or does not run without numbers, which is told: some
    masks are made of what positions say.
    """
    # Products of experts are known there in bfloat16 alone.
    twin = copy.deepcopy(skeleton).to(torch.bfloat16).eval()
    tokens = torch.zeros(1, 2, dtype=torch.long, device="meta")
    try:
        found = twin(input_ids=tokens, use_cache=True)
    except (RuntimeError, AttributeError, TypeError) as error:
        _LOG.warning(
            "%s does not run without weights (%s): what a row keeps is told by its settings.",
            type(skeleton).__name__,
            " ".join(str(error).split())[:80],
        )
        return None
    cache = getattr(found, "past_key_values", None)
    if cache is None:
        return None
    numbers = state = 0
    for layer in cache.layers:
        pair = getattr(layer, "keys", None), getattr(layer, "values", None)
        numbers += sum(each.numel() // 2 for each in pair if each is not None)
        kept = (getattr(layer, name, {}) for name in ("conv_states", "recurrent_states"))
        state += sum(4 * t.numel() for each in kept for t in each.values() if t is not None)
    return numbers, state


def _keeping(config: Any, blocks: int) -> list[Any]:  # noqa: ANN401
    """For each block that keeps keys of its own, its configuration; some differ (Gemma 4)."""
    differ = getattr(config, "is_heterogeneous", False)
    each = list(config.per_layer_config) if differ else [config] * blocks
    return each[: blocks - (getattr(config, "num_kv_shared_layers", None) or 0)]


def _cached_width(config: Any) -> int:  # noqa: ANN401
    """Numbers of keys and values that a block keeps for one token, by the configuration."""
    heads = getattr(config, "num_attention_heads", None)
    if heads is None:
        raise TraitsteerError(
            f"A model of type {config.model_type} attends to no token that came before, so that "
            "its memory is not counted and its blocks are not steered; choose one that attends."
        )
    one = getattr(config, "head_dim", None) or config.hidden_size // heads
    kept = getattr(config, "num_key_value_heads", None) or getattr(config, "num_kv_heads", None)
    if getattr(config, "multi_query", False) and not getattr(
        config, "new_decoder_architecture", False
    ):
        kept = 1
    return int(2 * (kept or heads) * one)


def _gib(size: int) -> str:
    return f"{size / GIB:.2f} GiB" if size >= GIB / 100 else f"{size / 2**20:.1f} MiB"
