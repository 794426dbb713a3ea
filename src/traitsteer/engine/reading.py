"""Reading the residual stream: recorded token ids in, pooled activations of every layer out.

Only the decoder blocks run (no logits), and each layer is pooled as soon as it is computed, so
that no `[rows, tokens, width]` is kept for more than one layer at a time.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from traitsteer.maths.positions import Position, pooling_weights
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.hooks import Change, on_blocks
from traitsteer.world.language_model import LanguageModel


@dataclass(frozen=True)
class Recorded:
    """The token ids of one prompt and its response, as they were generated."""

    id: str
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]


@dataclass(frozen=True)
class _Batch:
    places: list[int]
    ids: Tensor
    mask: Tensor
    prompts: Tensor
    responses: Tensor


@torch.inference_mode()
def pooled_activations(
    model: LanguageModel,
    recorded: Sequence[Recorded],
    position: Position,
    batch_rows: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Tensor:
    """Mean activation over the position's tokens, for every layer.

    Returns:
        [n, layers, width], float32, on the CPU, in the order of `recorded`.

    Raises:
        TraitsteerError: a response has no token at the position; the message names its id.
    """
    for item in recorded:
        # Every row is checked before the first forward pass.
        position.select(len(item.prompt_ids), len(item.response_ids), name=item.id)
    pooled = torch.empty(len(recorded), model.layers, model.width)
    for batch in _batches(model, recorded, batch_rows):
        weights = pooling_weights(
            position,
            batch.prompts,
            batch.responses,
            torch.zeros_like(batch.prompts),
            batch.ids.shape[1],
            [recorded[place].id for place in batch.places],
        )

        def keep(layer: int, hidden: Tensor, batch: _Batch = batch, w: Tensor = weights) -> None:
            rows = torch.einsum("nt,ntd->nd", w.to(hidden.device), hidden.float())
            pooled[batch.places, layer] = rows.cpu()

        _run(model, batch, {at: functools.partial(keep, at) for at in range(model.layers)})
        progress(len(batch.places))
    return pooled


@torch.inference_mode()
def mean_residual_norm(
    model: LanguageModel, recorded: Sequence[Recorded], batch_rows: int
) -> Tensor:
    """Mean L2 norm of the residual stream over all response tokens, for every layer.

    Prompt tokens are left out: the first token of many models carries a norm that is hundreds of
    times that of any other.

    Returns:
        [layers], float32.

    Raises:
        TraitsteerError: there is no response token at all.
    """
    tokens = sum(len(item.response_ids) for item in recorded)
    if tokens == 0:
        raise TraitsteerError(
            f"All {len(recorded)} calibration responses of {model.name} are empty, expected text; "
            "check the model and calibrate.questions."
        )
    total = torch.zeros(model.layers, dtype=torch.float64)
    for batch in _batches(model, recorded, batch_rows):
        columns = torch.arange(batch.ids.shape[1], device=batch.ids.device)
        counted = (columns >= batch.prompts[:, None]) & batch.mask.bool()

        def add(layer: int, hidden: Tensor, counted: Tensor = counted) -> None:
            norms = hidden.float().norm(dim=-1) * counted.to(hidden.device)
            total[layer] += norms.double().sum().cpu()

        _run(model, batch, {at: functools.partial(add, at) for at in range(model.layers)})
    return (total / tokens).float()


def _run(model: LanguageModel, batch: _Batch, changes: dict[int, Change]) -> None:
    with on_blocks(model.blocks, changes):
        model.model.get_decoder()(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False)


def _batches(
    model: LanguageModel, recorded: Sequence[Recorded], batch_rows: int
) -> Iterator[_Batch]:
    """Right-padded batches of sequences of similar length."""
    lengths = [len(item.prompt_ids) + len(item.response_ids) for item in recorded]
    order = sorted(range(len(recorded)), key=lambda place: lengths[place])
    for start in range(0, len(order), batch_rows):
        places = order[start : start + batch_rows]
        width = max(lengths[place] for place in places)
        ids = torch.full((len(places), width), model.pad_id)
        mask = torch.zeros(len(places), width, dtype=torch.long)
        for row, place in enumerate(places):
            tokens = recorded[place].prompt_ids + recorded[place].response_ids
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        device = model.device
        yield _Batch(
            places=places,
            ids=ids.to(device),
            mask=mask.to(device),
            prompts=torch.tensor([len(recorded[p].prompt_ids) for p in places], device=device),
            responses=torch.tensor([len(recorded[p].response_ids) for p in places], device=device),
        )
