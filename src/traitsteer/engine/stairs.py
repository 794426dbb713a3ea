"""The hooks by which the batch of a forward pass changes from block to block."""

from collections import UserDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from traitsteer.engine.sharing import Level, as_they_lie
from traitsteer.words.shapes import Int
from traitsteer.world.model.hooks import Change, before_blocks, on_blocks
from traitsteer.world.model.language_model import LanguageModel


class Stairs:
    """Takes the runs of each level to the next.

    Args:
        levels: at the input of each block and at the output of the last.
        width: rows of the batch that the model is called with; the first are the runs of level 0.
    """

    def __init__(self, levels: Sequence[Level], width: int) -> None:
        self.width = width
        widths = [width, *(len(level.first) for level in levels[1:])]
        sources = [below.place[above.first] for below, above in pairwise(levels)]
        bases = [levels[0].place[level.first] for level in levels[:-1]]
        wanted = {
            **{
                ("source", at): each
                for at, each in enumerate(sources)
                if not as_they_lie(each, widths[at])
            },
            # The arguments of the first block are as the model makes them.
            **{
                ("base", at): each
                for at, each in enumerate(bases)
                if at and not as_they_lie(each, width)
            },
        }
        self.places = {key: number for number, key in enumerate(wanted)}
        """Which of the indices is that of a kind and block; one that would change nothing has none.

        `source`: of each run at the output of a block, where it lies in the batch of that block;
        `base`: of each run at the input of a block, where it lies in the batch of the model.
        """
        self.sizes = [len(each) for each in wanted.values()]
        self.numbers = torch.from_numpy(np.concatenate([[], *wanted.values()]).astype(np.int64))
        """All indices, one after the other."""
        self.brought: dict[torch.device, tuple[Tensor, ...]] = {}
        """The indices by the device that they were brought to."""

    @contextmanager
    def climbed(self, model: LanguageModel, changes: Mapping[int, Change]) -> Iterator[None]:
        """While the context is open, `changes[block]` gets the runs that leave this block."""
        blocks = range(model.layers)
        outputs = {
            at: partial(self._leave, at, changes.get(at))
            for at in blocks
            if at in changes or ("source", at) in self.places
        }
        inputs = {
            at: partial(self._enter, at)
            for at in blocks
            if ("base", at) in self.places or ("source", at - 1) in self.places
        }
        with before_blocks(model.blocks, inputs), on_blocks(model.blocks, outputs):
            yield

    def _index(self, kind: str, block: int, device: torch.device) -> Int[Tensor, " runs"] | None:
        """Brought to a device in one piece, since the host waits each time."""
        number = self.places.get((kind, block))
        if number is None:
            return None
        if device not in self.brought:
            self.brought[device] = self.numbers.to(device).split(self.sizes)
        return self.brought[device][number]

    def _leave(self, block: int, change: Change | None, hidden: Tensor) -> Tensor | None:
        source = self._index("source", block, hidden.device)
        if source is not None:
            hidden = hidden.index_select(0, source)
        return hidden if change is None else change(hidden)

    def _enter(
        self, block: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Masks and position embeddings of the pass become those of the runs at this block."""
        for value in (*args, *kwargs.values()):
            self._pass_on(block, value)
        hidden, others = args[:1], args[1:]
        held = {name: value for name, value in kwargs.items() if name == "hidden_states"}
        grown = {name: self._grown(block, value) for name, value in kwargs.items()}
        return (*hidden, *self._grown(block, others)), grown | held

    def _grown(self, block: int, value: Any) -> Any:  # noqa: ANN401 - arguments differ by model
        if isinstance(value, tuple):
            return tuple(self._grown(block, each) for each in value)
        if isinstance(value, dict):
            return {name: self._grown(block, each) for name, each in value.items()}
        if isinstance(value, Tensor) and value.dim() > 1 and len(value) == self.width > 1:
            base = self._index("base", block, value.device)
            return value if base is None else value.index_select(0, base)
        return value

    def _pass_on(self, block: int, value: object) -> None:
        """Keys and values that earlier blocks left for later ones, in one mapping for all."""
        if not isinstance(value, UserDict):
            return
        for name, left in value.items():
            sources = [self._index("source", block - 1, each.device) for each in left]
            value[name] = tuple(
                each if source is None else each.index_select(0, source)
                for each, source in zip(left, sources, strict=True)
            )
