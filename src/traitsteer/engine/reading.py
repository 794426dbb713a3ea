"""Reading the residual stream: recorded token ids in, pooled activations of every layer out.

Only what is needed is run: the decoder's blocks up to the last layer asked for (no norm, no
logits), and of each row no token after the last one that is pooled, since in a causal decoder
nothing that follows changes it. For the same reason rows are padded on the right and need no
attention mask. In the last block, what follows attention runs for the pooled tokens alone. Each
layer is pooled as soon as it is computed, so that no `[rows, tokens, width]` is kept for more than
one layer at a time.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from traitsteer.engine.batches import causal, fill, run_blocks
from traitsteer.engine.last_block import looking_at
from traitsteer.engine.rows import check_ids
from traitsteer.maths.positions import Position
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.model.inference import inference
from traitsteer.world.model.language_model import LanguageModel

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Recorded:
    """The token ids of one prompt and its response, as they were generated."""

    id: str
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    reasoning_ids: tuple[int, ...] = ()
    """Generated between them by a model that reasons first."""

    @property
    def ids(self) -> tuple[int, ...]:
        """All of them, in the order in which the model saw them."""
        return tuple(id_ for part in self.parts for id_ in part)

    @property
    def parts(self) -> tuple[tuple[int, ...], ...]:
        """Prompt, reasoning and response: what a position counts from."""
        return self.prompt_ids, self.reasoning_ids, self.response_ids

    @property
    def lengths(self) -> tuple[int, int, int]:
        """Tokens of prompt, response and reasoning, as `Position` takes them."""
        return len(self.prompt_ids), len(self.response_ids), len(self.reasoning_ids)


@dataclass(frozen=True)
class _Row:
    """One sequence to run and those of its tokens that are pooled."""

    id: str
    ids: tuple[int, ...]
    selected: range


Pool = Callable[[Tensor, Tensor], Tensor]
"""(selected tokens [rows, most, width], which of them are real [rows, most]) -> [rows, result]."""


def pooled_activations(
    model: LanguageModel,
    recorded: Sequence[Recorded],
    position: Position,
    tokens: int,
    layers: int | None = None,
    progress: Progress = lambda done: None,
) -> Tensor:
    """Mean activation over the position's tokens, accumulated in float32, for every layer.

    Args:
        tokens: most tokens of one forward pass, padding included (a longer row runs alone);
            changes speed and memory, no result beyond rounding.
        layers: how many layers are read, from the first; all of them if None.
        progress: called with the number of rows that each batch finished.

    Returns:
        [n, layers, width], float32, on the CPU, in the order of `recorded`.

    Raises:
        TraitsteerError: a response has no token at the position, has one that is not the model's,
            is longer than the model can tell positions apart, or too large for the memory by itself
            (the message names its id), or the model has fewer layers.
    """
    wanted = model.layers if layers is None else layers
    if not 1 <= wanted <= model.layers:
        raise TraitsteerError(
            f"Asked for {wanted} layers of {model.name}, which has {model.layers}; ask for 1 to "
            f"{model.layers}."
        )
    # Every row is checked before the first forward pass.
    rows = [
        _Row(
            item.id,
            item.ids,
            position.select(
                len(item.prompt_ids),
                len(item.response_ids),
                name=item.id,
                reasoning_length=len(item.reasoning_ids),
            ),
        )
        for item in recorded
    ]
    pooled = torch.empty(len(rows), wanted, model.width)
    _read(model, rows, tokens, _mean, pooled, progress)
    return pooled


def mean_residual_norm(model: LanguageModel, recorded: Sequence[Recorded], tokens: int) -> Tensor:
    """Mean L2 norm of the residual stream over all generated tokens, for every layer.

    Prompt tokens are left out: the first token of many models carries a norm that is hundreds of
    times that of any other.

    Args:
        tokens: most tokens of one forward pass, as in `pooled_activations`.

    Returns:
        [layers], float32.

    Raises:
        TraitsteerError: there is no response token at all, or one that is not the model's, or one
            row alone is too large for the model's context or for the memory.
    """
    rows = [
        _Row(
            item.id,
            item.ids,
            range(len(item.prompt_ids), len(item.ids)),
        )
        for item in recorded
        if len(item.ids) > len(item.prompt_ids)
    ]
    if not rows:
        raise TraitsteerError(
            f"All {len(recorded)} calibration responses of {model.name} are empty, expected text; "
            "check the model and calibrate.questions."
        )
    sums = torch.empty(len(rows), model.layers, 1)
    _read(model, rows, tokens, _sum_of_norms, sums, lambda done: None)
    return (sums[:, :, 0].double().sum(dim=0) / sum(len(row.selected) for row in rows)).float()


def _mean(selected: Tensor, real: Tensor) -> Tensor:
    # The selected tokens are a copy; summing in float32 needs no second one.
    selected *= real[:, :, None].to(selected.dtype)
    return selected.sum(dim=1, dtype=torch.float32) / real.sum(dim=1, keepdim=True)


def _sum_of_norms(selected: Tensor, real: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(selected, dim=-1, dtype=torch.float32)
    return (norms * real).sum(dim=1, keepdim=True)


def _read(
    model: LanguageModel,
    rows: Sequence[_Row],
    tokens: int,
    pool: Pool,
    found: Tensor,
    progress: Progress,
) -> None:
    """Fill `found [n, layers, result]`; batches that do not fit into the memory are halved."""
    for row in rows:
        check_ids(model, row.id, row.ids)
    alone = causal(model, found.shape[1])
    lengths = [max(row.selected) + 1 if alone else len(row.ids) for row in rows]
    for row, length in zip(rows, lengths, strict=True):
        if model.context is not None and length > model.context:
            raise TraitsteerError(
                f"{row.id} is read up to token {length}; {model.name} takes {model.context}: leave "
                "the row out, or read fewer tokens of its response."
            )

    def run(places: Sequence[int], longest: int) -> Tensor:
        chosen = [rows[place] for place in places]
        return _batch(model, chosen, longest, not alone, pool, found.shape[1:])

    with inference(model.model):
        fill(found, run, [row.id for row in rows], lengths, tokens, model.device, progress)


def _batch(
    model: LanguageModel,
    rows: Sequence[_Row],
    width: int,
    masked: bool,
    pool: Pool,
    shape: torch.Size,
) -> Tensor:
    """Results `[rows, layers, result]` of one forward pass."""
    most = max(len(row.selected) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    real = torch.zeros(len(rows), most, dtype=torch.bool)
    # Missing places repeat a selected token: padding is not even looked at.
    index = torch.tensor([row.selected[0] for row in rows])[:, None].repeat(1, most)
    for place, row in enumerate(rows):
        run, chosen = row.ids[:width], row.selected
        ids[place, : len(run)] = torch.tensor(run)
        mask[place, : len(run)] = 1
        index[place, : len(chosen)] = torch.tensor(chosen)
        real[place, : len(chosen)] = True
    index += torch.arange(len(rows))[:, None] * width
    results = torch.empty(len(rows), *shape, device=model.device)
    pooled = index[real].to(model.device)
    index, real = index.flatten().to(model.device), real.to(model.device)

    def keep(layer: int, hidden: Tensor) -> None:
        where = index.to(hidden.device)
        selected = hidden.flatten(0, 1).index_select(0, where).unflatten(0, real.shape)
        results[:, layer] = pool(selected, real.to(hidden.device)).to(results.device)

    seen = {layer: functools.partial(keep, layer) for layer in range(shape[0])}
    with looking_at(model, shape[0] - 1, lambda _rows, _tokens: pooled):
        run_blocks(model, ids, mask if masked else None, seen)
    return results
