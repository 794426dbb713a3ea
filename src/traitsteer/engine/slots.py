"""Keys and values of the rows that are being decoded, in buffers that neither grow nor move.

A run of rows (`sharing.py`) has a slot at each block. Rows are aligned at their ends: the newest
token of every row lies in the same column, so that a decoding step writes one column for all of
them, whatever their lengths. Once the last column is written, the tokens still needed are shifted
back to the first ones.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from traitsteer.engine.prefill import Prefilled
from traitsteer.engine.sharing import Level, Move, Numbers, as_they_lie
from traitsteer.words.shapes import Int


@dataclass
class Columns:
    """The columns of the buffers that are in use; the same for every block."""

    size: int
    end: int
    """The column after the newest tokens."""
    first: int
    stop: int
    """Attention reads columns `first` to `stop - 1` in the next step."""
    write: Int[Tensor, " 1"]
    """The column that the next step writes, as a tensor: a captured step reads it when replayed."""


class Slots(Cache):
    """A cache for `transformers` whose rows come and go.

    `cleared` buffers hold 0 where nothing was written, so that a captured step may read it all.
    Others lie in `spare` memory where it is large enough, and `release` puts it back: on a CPU the
    system would map it anew, page by page, in every call.

    Args:
        slots: how many each block has.
        size: columns of each slot.
        end: the column after the newest tokens of the first prompts.
        device: where the embeddings lie; buffers lie where their blocks do.
    """

    def __init__(
        self,
        layers: int,
        slots: int,
        size: int,
        end: int,
        device: torch.device,
        cleared: bool,
        spare: list[Tensor],
    ) -> None:
        self.slots, self.spare = slots, spare
        write = torch.zeros(1, dtype=torch.long, device=device)
        self.columns = Columns(size, end, end, end, write)
        self.kept = [_Layer(self.columns, slots, cleared, spare) for _ in range(layers)]
        super().__init__(layers=list(self.kept))

    def release(self) -> None:
        """Leave the memory of the buffers, and nothing else, to the next call on a CPU."""
        self.spare.clear()
        for layer in self.kept:
            self.spare += [memory for memory in layer.memory if memory.is_cpu]
        self.drop()

    def drop(self) -> None:
        """Let go of the memory of the buffers."""
        for layer in self.kept:
            layer.memory = layer.buffers = ()

    def fill(self, slots: Sequence[int], prefilled: Prefilled, levels: Sequence[Level]) -> None:
        """Take over the prompts of new runs into consecutive slots, aligned with all others.

        Args:
            slots: how many are in use at each block.
            levels: the new runs, by the rows whose prompts these are.
        """
        for layer, slot, prompts, there, runs in zip(
            self.kept, slots, prefilled.layers, prefilled.levels[:-1], levels, strict=True
        ):
            if prompts is not None:
                layer.fill(slot, prompts, there.place[runs.first])
        tokens = prefilled.tokens
        self.columns.first = min(self.columns.first, self.columns.end - tokens)

    def move(self, moves: Sequence[Move], first: int) -> None:
        """Copy runs into other slots, from column `first` on, before which no run has tokens."""
        # Columns before it hold nothing in slots that were not in use.
        self.columns.first = first
        for move in moves:
            # Brought over once: the host waits for it each time.
            device = self.columns.write.device
            source, target = (
                torch.from_numpy(each).to(device) for each in (move.source, move.target)
            )
            for block in move.blocks:
                for buffer in self.kept[block].buffers:
                    read = buffer[:, :, first : self.columns.end]
                    moved = read.index_select(0, source.to(buffer.device))
                    read.index_copy_(0, target.to(buffer.device), moved)

    def shift(self, slots: Sequence[int], first: int, end: int) -> int:
        """Move the columns from `first` on of the slots in use back, to end before column `end`.

        Returns the number of columns that everything moved by.
        """
        by = self.columns.end - end
        for layer, used in zip(self.kept, slots, strict=True):
            for buffer in layer.buffers:
                moved = buffer[:used, :, first : self.columns.end].clone()
                buffer[:used, :, first - by : end] = moved
        self.columns.first, self.columns.end = first - by, end
        return by


class _Layer(CacheLayerMixin):
    """Buffers `[slots, heads, columns, head width]` of one block: keys, then values."""

    is_sliding = False

    def __init__(self, columns: Columns, slots: int, cleared: bool, spare: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.columns, self.slots, self.cleared, self.spare = columns, slots, cleared, spare
        self.memory: tuple[Tensor, ...] = ()
        self.buffers: tuple[Tensor, ...] = ()
        """Empty until the first prompts arrive."""

    def fill(self, slot: int, prompts: tuple[Tensor, Tensor], of_run: Numbers) -> None:
        """Copy prompts `[prompts, heads, tokens, head width]`, one for each run, before the end."""
        if not self.buffers:
            self.memory = tuple(map(self._memory, prompts))
            shapes = [(self.slots, p.shape[1], self.columns.size, p.shape[3]) for p in prompts]
            self.buffers = tuple(
                memory[: math.prod(shape)].view(shape)
                for memory, shape in zip(self.memory, shapes, strict=True)
            )
        start, seen = self.columns.end - prompts[0].shape[2], self.columns.first
        first = min(start, seen)
        whole = as_they_lie(of_run, len(of_run))
        chosen = None if whole else torch.from_numpy(of_run).to(prompts[0].device)
        for buffer, prompt in zip(self.buffers, prompts, strict=True):
            own = buffer[slot : slot + len(of_run)]
            # Attention multiplies what it masks by 0, so that must not be a stray NaN: neither
            # before these prompts nor, if they are longer than all others, before the others.
            own[:, :, first:start] = 0
            if self.cleared:
                # Read before it is written: what a row wrote here after it had left.
                own[:, :, self.columns.end :] = 0
            buffer[:slot, :, first:seen] = 0
            lying = prompt[: len(of_run)] if chosen is None else prompt.index_select(0, chosen)
            own[:, :, start : self.columns.end] = lying

    def _memory(self, like: Tensor) -> Tensor:
        """Room for a buffer of prompts like these, flat."""
        numbers = self.slots * like.shape[1] * self.columns.size * like.shape[3]
        if self.cleared:
            return like.new_zeros(numbers)
        for place, memory in enumerate(self.spare):
            if memory.numel() >= numbers and memory.dtype == like.dtype:
                return self.spare.pop(place)
        # What is too small goes first: both together would be twice what is needed.
        self.spare.clear()
        return like.new_empty(numbers)

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        *args: Any,  # noqa: ANN401 - what else an architecture passes
        **kwargs: Any,  # noqa: ANN401
    ) -> tuple[Tensor, Tensor]:
        """Write the newest column of the rows; return the columns that attention reads."""
        rows, columns = len(key_states), self.columns
        keys, values = (buffer[:rows] for buffer in self.buffers)
        for buffer, new in ((keys, key_states), (values, value_states)):
            if self.cleared:
                # Slower, but a step that is replayed finds its column in a tensor alone.
                buffer.index_copy_(2, columns.write.to(new.device), new)
            else:
                buffer[:, :, columns.end : columns.end + 1] = new
        read = slice(columns.first, columns.stop)
        return keys[:, :, read], values[:, :, read]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: the buffers are made when the first prompts arrive."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns that attention reads, and the first of them."""
        return self.columns.stop - self.columns.first, self.columns.first

    def get_seq_length(self) -> int:
        """Columns before the one that is written next."""
        return self.columns.end

    def get_max_length(self) -> int:
        """Columns of the buffer."""
        return self.columns.size
