"""One decoding step of all rows in their slots: the newest tokens in, the next ones out.

On a CPU a step takes as long as it has rows, so rows that are still one are computed once
(`sharing.py`).

Where a GPU is, most of a step is reading the weights, which all rows share anyway, and launching
kernels. There it is captured as a CUDA graph: its launch costs as much as one kernel, and the
steering and the choice of tokens are part of it. A captured step has fixed shapes, so rows and
columns are rounded up. The first step of so many rows runs as it is, which loads the kernels that a
capture must find.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from traitsteer.engine.added import Added
from traitsteer.engine.attention import attending, by_the_table
from traitsteer.engine.graphs import captured
from traitsteer.engine.masks import StepMasks
from traitsteer.engine.prefill import Prefilled
from traitsteer.engine.rows import Row
from traitsteer.engine.sharing import Level, Runs
from traitsteer.engine.slots import Slots
from traitsteer.engine.stairs import Stairs
from traitsteer.words.shapes import Int
from traitsteer.world.model.hooks import on_blocks
from traitsteer.world.model.language_model import LanguageModel

_FEWEST = 128
"""Rows below which a captured step gets no smaller: reading the weights takes most of its time."""
_BLOCKS = ((256, 64), (64, 128), (0, 256))
"""With more than so many rows, what a captured step reads grows by so many columns."""


Then = Callable[[Tensor, Tensor], Tensor]
"""Takes logits [rows, vocabulary] and the newest tokens [rows], which it may replace by the next;
what it returns [rows, ...] is what the step gives."""


@dataclass(frozen=True)
class Use:
    """What each step's logits are for."""

    then: Then
    """Told the logits of the first rows, and in a captured step of slots without a row too."""
    reads_back: bool
    """Whether it reads numbers back to the host, so that it cannot be part of a captured step."""


class Decoder:
    """The rows that are being decoded, and their next step; the caller has inference mode on.

    Args:
        use: what each step makes of its logits.
        rows: those to come; room is made for what their settings add.
        slots: most rows at once.
        size: columns of each slot.
        widest: columns of the longest prompts to come.
        last: the greatest position that any row's token can have.
        capture: whether steps have fixed shapes.
    """

    def __init__(
        self,
        model: LanguageModel,
        use: Use,
        rows: Sequence[Row],
        slots: int,
        size: int,
        widest: int,
        last: int,
        capture: bool,
    ) -> None:
        self.model, self.widest, self.last, self.capture = model, widest, last, capture
        self.use, self.whole = use, capture and not use.reads_back
        self.masks = StepMasks(model)
        self.runs = Runs(model.layers, not capture and _shareable(model))
        self.added = Added(model, rows, slots)
        self.slots = Slots(model.layers, slots, size, widest, model.device, capture, model.spare)
        self.tokens = torch.zeros(slots, dtype=torch.long, device=model.device)
        """The newest token of each row."""
        self.starts = torch.zeros(slots, dtype=torch.long, device=model.device)
        """The column of each row's first token."""
        self.levels: list[Level] = []
        """The runs at the input of each block and at the output of the last, once asked for."""
        self.stairs: Stairs | None = None
        """The way through these levels."""
        self.graphs: dict[tuple[int, int], Callable[[], Tensor]] = {}
        self.met: set[int] = set()
        """How many rows a step had."""
        # One replay follows another and their results are used at once: they may share memory.
        on_gpu = capture and model.device.type == "cuda"
        self.pool = torch.cuda.graph_pool_handle() if on_gpu else None

    def admit(self, rows: Sequence[Row], prefilled: Prefilled) -> None:
        """Take in new rows, with their prompts, after those that are there."""
        first, used = len(self.runs), self.runs.slots
        self.slots.fill(used, prefilled, self.runs.admit(rows))
        lengths = torch.tensor([len(row.prompt_ids) for row in rows], device=self.starts.device)
        self.starts[first : first + len(rows)] = self.slots.columns.end - lengths
        self.added.fill(first, rows)
        self.stairs = None

    def tell(self, first: int) -> None:
        """The rows from number `first` on have new tokens: runs part where these differ."""
        if not self.runs.parted:
            self.runs.tell(self.tokens[first : len(self.runs)].cpu().numpy())

    def leave(
        self, left: int, movers: Sequence[int], holes: Sequence[int], beside: Sequence[Tensor]
    ) -> None:
        """Only the first `left` rows stay, once `movers` have taken the numbers of `holes`.

        Args:
            beside: what else is kept for each row, `[slots, ...]`; changed likewise.
        """
        if holes:
            # Brought over once: the host waits for it each time.
            source, target = (
                torch.tensor(each, device=self.tokens.device) for each in (movers, holes)
            )
            for state in (self.tokens, self.starts, *beside):
                state[target] = state[source]
            self.added.move(source, target)
        stay = np.arange(left)
        stay[list(holes)] = movers
        self.runs.keep(stay)

    def settle(self) -> None:
        """Give runs that have parted slots of their own, and close gaps."""
        if self.runs.settled:
            return
        self.stairs = None
        if moves := self.runs.settle():
            self.slots.move(moves, int(self.starts[: len(self.runs)].min()))

    def step(self) -> Tensor:
        """What `use.then` makes of the logits after the newest tokens, `[rows, ...]`.

        The cache grows by a column.
        """
        live, columns = len(self.runs), self.slots.columns
        starts = self.starts[:live]
        if columns.end == columns.size:
            first = int(starts.min())
            end = max(columns.end - first, self.widest)
            starts -= self.slots.shift(self.runs.slots, first, end)
        columns.write.fill_(columns.end)
        if not self.capture:
            columns.first, columns.stop = int(starts.min()), columns.end + 1
        if self.runs.shared:
            found = self._shared()
        else:
            with on_blocks(self.model.blocks, self.added.changes()):
                found = self._replayed(live)[:live] if self.capture else self._forward(live)
        columns.end += 1
        return found if self.whole else self.use.then(found, self.tokens[:live])

    def drop(self) -> None:
        """Let go of the memory of all rows."""
        self.graphs.clear()
        self.slots.drop()
        self.added.of_block.clear()

    def _shared(self) -> Tensor:
        if self.stairs is None:
            last = self.runs.alike.level(self.model.layers)
            self.levels = [*self.runs.levels, last]
            self.stairs = Stairs(self.levels, len(self.levels[0].first))
        first, place = map(torch.from_numpy, (self.levels[0].first, self.levels[-1].place))
        with self.stairs.climbed(self.model, self.added.changes(self.levels)):
            logits = self._pass(self.tokens[first], self.starts[first])
        # Where all rows have a run of their own, these are in the order of the rows.
        return logits if len(logits) == len(place) else logits.index_select(0, place)

    def _replayed(self, live: int) -> Tensor:
        # A capture costs more than many a replay: rows halve when half of them have left, and
        # columns come in blocks, smaller where more rows would read them in vain.
        rows, columns = self.slots.slots, self.slots.columns
        while rows // 2 >= max(live, _FEWEST):
            rows //= 2
        # A slot without a row reads what lies in it, so that nothing becomes NaN.
        self.starts[live:rows].zero_()
        block = next(columns for above, columns in _BLOCKS if rows > above)
        stop = min(-(-(columns.end + 1) // block) * block, columns.size)
        columns.first, columns.stop = 0, stop
        shape, forward = (rows, stop), functools.partial(self._forward, rows)
        if rows not in self.met:
            self.met.add(rows)
            return forward()
        if shape not in self.graphs:
            self.graphs[shape] = captured(forward, self.model, self.pool)
        return self.graphs[shape]()

    def _forward(self, rows: int) -> Tensor:
        logits = self._pass(self.tokens[:rows], self.starts[:rows])
        return self.use.then(logits, self.tokens[:rows]) if self.whole else logits

    def _pass(self, tokens: Int[Tensor, " runs"], starts: Int[Tensor, " runs"]) -> Tensor:
        columns = self.slots.columns
        with attending(self.model, self.masks.kernel):
            logits: Tensor = self.model.model(
                input_ids=tokens[:, None],
                attention_mask=self.masks.make(starts, columns.write, columns.first, columns.stop),
                position_ids=(columns.write - starts).clamp_max(self.last)[:, None],
                past_key_values=self.slots,
                use_cache=True,
                logits_to_keep=1,
            ).logits
        return logits[:, -1]


def _shareable(model: LanguageModel) -> bool:
    """Whether rows that are still one are computed once: where that saves time and is sure.

    Not where blocks read the keys of other blocks, which lie in other slots, or where what a block
    is given may have a dimension that looks like that of the rows.
    """
    config = model.model.config.get_text_config()
    on_cpu = all(parameter.is_cpu for parameter in model.model.parameters())
    return on_cpu and by_the_table(model) and not getattr(config, "num_kv_shared_layers", 0)
