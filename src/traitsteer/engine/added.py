"""What the settings of rows add: to whole texts in one pass, to the newest tokens in a step."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from traitsteer.engine.rows import Row, Steering
from traitsteer.engine.sharing import Level
from traitsteer.words.shapes import Bool, Float, Int
from traitsteer.world.model.hooks import Change
from traitsteer.world.model.language_model import LanguageModel


def adding(steered: Sequence[tuple[int, Steering]], inside: Bool[Tensor, "n tokens"]) -> Change:
    """What adds to the tokens `inside` of some rows; `steered` names each row and its setting."""
    places = torch.tensor([place for place, _ in steered])
    added = torch.stack([each.coefficient * each.vector.float() for _, each in steered])
    return partial(_add, places, added, inside)


def adding_by_block(
    steerings: Sequence[Steering | None], inside: Bool[Tensor, "rows tokens"]
) -> dict[int, Change]:
    """For each steered block, what adds to the tokens `inside` of the rows steered there."""
    of_block: dict[int, list[tuple[int, Steering]]] = {}
    for place, each in enumerate(steerings):
        if each is not None:
            of_block.setdefault(each.layer, []).append((place, each))
    return {
        block: adding(own, inside[[place for place, _ in own]])
        for block, own in sorted(of_block.items())
    }


def _add(
    places: Int[Tensor, " n"],
    added: Float[Tensor, "n width"],
    inside: Bool[Tensor, "n tokens"],
    hidden: Float[Tensor, "rows tokens width"],
) -> Tensor:
    """Add vectors to the tokens `inside` of some rows, in place."""
    places = places.to(hidden.device)
    change = added.to(hidden.device)[:, None] * inside.to(hidden.device)[:, :, None]
    # The sum is formed in float32, so that a small coefficient is not lost to bf16.
    sums = hidden.index_select(0, places) + change
    return hidden.index_copy_(0, places, sums.to(hidden.dtype))


class Added:
    """What each row's setting adds to its newest token, `[slots, width]` for each steered block."""

    def __init__(self, model: LanguageModel, rows: Sequence[Row], slots: int) -> None:
        steered = {s.layer for row in rows if (s := row.steered("response"))}
        self.of_block = {
            layer: torch.zeros(slots, model.width, device=_device_of(model, layer))
            for layer in sorted(steered)
        }

    def fill(self, first: int, rows: Sequence[Row]) -> None:
        """Take over the settings of new rows, from number `first` on."""
        steered = [(at, s) for at, row in enumerate(rows) if (s := row.steered("response"))]
        for layer, added in self.of_block.items():
            own = [(at, s) for at, s in steered if s.layer == layer]
            added[first : first + len(rows)] = 0
            if own:
                places = torch.tensor([first + at for at, _ in own], device=added.device)
                sums = torch.stack([s.coefficient * s.vector.float() for _, s in own])
                added[places] = sums.to(added.device)

    def move(self, source: Int[Tensor, " n"], target: Int[Tensor, " n"]) -> None:
        """Copy settings to other rows."""
        for added in self.of_block.values():
            added[target.to(added.device)] = added[source.to(added.device)]

    def keep(self, rows: Int[Tensor, " n"]) -> None:
        """Only the settings of these rows stay, in this order."""
        for layer, added in self.of_block.items():
            self.of_block[layer] = added[rows.to(added.device)]

    def changes(self, levels: Sequence[Level] | None = None) -> dict[int, Change]:
        """For each steered block, what adds to its output.

        Args:
            levels: where runs are computed, those that leave block l are at `levels[l + 1]`.
        """
        changes: dict[int, Change] = {}
        for layer, added in self.of_block.items():
            own = added
            if levels is not None and len(levels[layer + 1].first) < len(levels[layer + 1].place):
                # A run below or at the block has rows of which none adds anything there.
                own = added[torch.from_numpy(levels[layer + 1].first)]
            changes[layer] = partial(_add_to_newest, own)
        return changes


def _device_of(model: LanguageModel, layer: int) -> torch.device:
    return next(model.blocks[layer].parameters()).device


def _add_to_newest(added: Tensor, hidden: Tensor) -> Tensor:
    """Add to the newest tokens what is added at this block, in place."""
    # The sum is formed in float32, so that a small coefficient is not lost to bf16.
    return hidden.add_(added[: len(hidden), None])
