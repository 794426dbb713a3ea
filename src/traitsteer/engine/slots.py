"""Keys and values of the rows that are being decoded, in buffers that neither grow nor move.

A row has a slot. Rows are aligned at their ends: the newest token of every row lies in the same
column, so that a decoding step writes one column for all of them, whatever their lengths. Once the
last column is written, the tokens still needed are shifted back to the first ones.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from traitsteer.engine.prefill import Prefilled
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

    def fill(self, slot: int, prefilled: Prefilled) -> None:
        """Take over the prompts of new rows into consecutive slots, aligned with all others."""
        for layer, source in zip(self.kept, prefilled.layers, strict=True):
            if source.keys is not None and source.values is not None:
                layer.fill(slot, (source.keys, source.values), source.of_row)
        tokens = prefilled.tokens
        self.columns.first = min(self.columns.first, self.columns.end - tokens)

    def move(self, source: Int[Tensor, " n"], target: Int[Tensor, " n"], first: int) -> None:
        """Copy rows into other slots, from column `first` on."""
        for layer in self.kept:
            for buffer in layer.buffers:
                read = buffer[:, :, first : self.columns.end]
                moved = read.index_select(0, source.to(buffer.device))
                read.index_copy_(0, target.to(buffer.device), moved)

    def shift(self, rows: int, first: int, end: int) -> int:
        """Move the columns from `first` on of the first rows back, to end before column `end`.

        Returns the number of columns that everything moved by.
        """
        by = self.columns.end - end
        for layer in self.kept:
            for buffer in layer.buffers:
                moved = buffer[:rows, :, first : self.columns.end].clone()
                buffer[:rows, :, first - by : end] = moved
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
        """None until the first prompts arrive."""

    def fill(self, slot: int, prompts: tuple[Tensor, Tensor], of_row: Tensor) -> None:
        """Copy prompts `[runs, heads, tokens, head width]`, the run of each row, before the end."""
        if not self.buffers:
            self.memory = tuple(map(self._memory, prompts))
            shapes = [(self.slots, p.shape[1], self.columns.size, p.shape[3]) for p in prompts]
            self.buffers = tuple(
                memory[: math.prod(shape)].view(shape)
                for memory, shape in zip(self.memory, shapes, strict=True)
            )
        start, seen = self.columns.end - prompts[0].shape[2], self.columns.first
        first = min(start, seen)
        for buffer, prompt in zip(self.buffers, prompts, strict=True):
            runs = of_row.to(prompt.device)
            own = buffer[slot : slot + len(runs)]
            # Attention multiplies what it masks by 0, so that must not be a stray NaN: neither
            # before these prompts nor, if they are longer than all others, before the others.
            own[:, :, first:start] = 0
            buffer[:slot, :, first:seen] = 0
            own[:, :, start : self.columns.end] = prompt.index_select(0, runs)

    def _memory(self, like: Tensor) -> Tensor:
        """Room for a buffer of prompts like these, flat."""
        numbers = self.slots * like.shape[1] * self.columns.size * like.shape[3]
        if self.cleared:
            return like.new_zeros(numbers)
        for place, memory in enumerate(self.spare):
            if memory.numel() >= numbers and memory.dtype == like.dtype:
                return self.spare.pop(place)
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
