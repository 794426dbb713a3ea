"""Steered generation: rows in, token ids out, every row with a setting and a seed of its own.

Rows of any settings are one stream. As many as there are slots are decoded together; a row that
has finished leaves at once, and waiting rows take its place, so that a long answer holds nobody
up. A setting travels with its row, and a sample depends on the row's seed and step alone: neither
batch size nor order changes what a row says.
"""

import functools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import torch
from torch import Tensor

from traitsteer.engine.decoding import Step, steer
from traitsteer.engine.masks import StepMasks
from traitsteer.engine.prefill import prefill
from traitsteer.engine.rows import Batching, Generated, Row, Sampling, check
from traitsteer.engine.sampling import LOOP_PERIOD, choose, looping
from traitsteer.engine.slots import Slots
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Finish
from traitsteer.world.hooks import on_blocks
from traitsteer.world.language_model import LanguageModel

Finished = Callable[[int, Generated], None]
_SLACK = 64
"""Columns that are decoded before tokens must be shifted back."""


def generate(
    model: LanguageModel,
    rows: Sequence[Row],
    sampling: Sampling,
    batching: Batching,
    finished: Finished = lambda index, generated: None,
) -> list[Generated]:
    """Generate one response for each row, in the order of the rows.

    Args:
        finished: called with the number of each row and what it generated, as rows finish.

    Raises:
        TraitsteerError: a row has an empty prompt, it or its steering does not fit the model, the
            model keeps no keys and values, or a single row does not fit into memory.
    """
    check(model, rows, sampling.max_new_tokens)
    if not rows:
        return []
    stream = _Stream(model, rows, sampling, batching, finished)
    with torch.inference_mode():
        try:
            stream.run()
        finally:
            stream.step.graphs.clear()
    return [stream.results[index] for index in range(len(rows))]


class _Stream:
    """Rows that wait, rows in slots, and rows that have finished."""

    def __init__(
        self,
        model: LanguageModel,
        rows: Sequence[Row],
        sampling: Sampling,
        batching: Batching,
        finished: Finished,
    ) -> None:
        self.model, self.rows, self.sampling, self.finished = model, rows, sampling, finished
        devices = {parameter.device for parameter in model.model.parameters()}
        on_one_gpu = len(devices) == 1 and model.device.type == "cuda"
        self.capture = on_one_gpu if batching.capture is None else batching.capture
        self.masks = StepMasks(model)
        self.results: dict[int, Generated] = {}
        # A pass over prompts may be one column wider than the longest of them.
        self.widest = 1 + max(len(row.prompt_ids) for row in rows)
        self.batch_rows, self.batch_tokens = min(batching.rows, len(rows)), batching.tokens
        self._wait(range(len(rows)))
        self.ends = torch.tensor(model.end_ids, device=model.device)
        self._empty_slots()

    def _wait(self, indices: Iterable[int]) -> None:
        """Rows in their order, but with equal prompts side by side within a slotful of them.

        So prompts are shared, and rows that come first still finish first.
        """
        ordered = sorted(indices)
        prompts = [self.rows[index].prompt_ids for index in ordered]
        window = self.batch_rows
        places = sorted(
            range(len(ordered)), key=lambda at: (at // window, len(prompts[at]), prompts[at], at)
        )
        self.waiting = deque(ordered[place] for place in places)

    def _empty_slots(self) -> None:
        device, slots = self.model.device, self.batch_rows
        most = self.sampling.max_new_tokens
        # Rows that take a free slot begin at the column where the others are.
        size = self.widest + most + (_SLACK if len(self.waiting) > slots else 0)
        self.index: list[int] = []
        """Number of the row in each slot; its length is the number of live rows."""
        self.tokens = torch.zeros(slots, dtype=torch.long, device=device)
        self.starts = torch.zeros(slots, dtype=torch.long, device=device)
        self.counts = torch.zeros(slots, dtype=torch.long, device=device)
        self.seeds = torch.zeros(slots, dtype=torch.long, device=device)
        self.written = torch.zeros((slots, most), dtype=torch.long, device=device)
        steered = {s.layer for row in self.rows if (s := row.steered("response"))}
        self.added = {
            layer: torch.zeros(slots, self.model.width, device=self._device_of(layer))
            for layer in sorted(steered)
        }
        self.slots = Slots(self.model.layers, slots, size, self.widest, device, self.capture)
        # The last token of a response is chosen and not run.
        last = self.widest - 1 + most - 2
        self.step = Step(
            self.model, self.masks, self.slots, self.tokens, self.starts, last, self.capture
        )

    def _device_of(self, layer: int) -> torch.device:
        return next(self.model.blocks[layer].parameters()).device

    def run(self) -> None:
        """Decode until every row has finished."""
        while self.waiting or self.index:
            try:
                free = self.batch_rows - len(self.index)
                # Few free slots are not worth a pass of their own; the rows decoded lose nothing.
                if self.waiting and free >= min(len(self.waiting), max(1, self.batch_rows // 8)):
                    self._admit(free)
                else:
                    self._decode()
            except torch.OutOfMemoryError:
                self._halve()

    def _admit(self, free: int) -> None:
        """Give the next waiting rows a slot, and choose their first tokens."""
        chosen: list[int] = []
        width = 0
        for index in islice(self.waiting, free):
            width = max(width, len(self.rows[index].prompt_ids))
            if chosen and width * (len(chosen) + 1) > self.batch_tokens:
                break
            chosen.append(index)
        rows = [self.rows[index] for index in chosen]
        count = len(rows)
        prefilled = prefill(self.model, rows)
        first = len(self.index)
        self.slots.fill(first, prefilled)
        here = slice(first, first + count)
        lengths = torch.tensor([len(row.prompt_ids) for row in rows], device=self.starts.device)
        self.starts[here] = self.slots.columns.end - lengths
        self.seeds[here] = torch.tensor([row.seed for row in rows], device=self.seeds.device)
        self.counts[here] = 0
        self._set_steering(first, rows)
        self.index += chosen
        for _ in chosen:
            self.waiting.popleft()
        self._take(first, prefilled.logits)

    def _set_steering(self, first: int, rows: Sequence[Row]) -> None:
        for layer, added in self.added.items():
            steered = [(at, s) for at, row in enumerate(rows) if (s := row.steered("response"))]
            own = [(at, s) for at, s in steered if s.layer == layer]
            added[first : first + len(rows)] = 0
            if own:
                places = torch.tensor([first + at for at, _ in own], device=added.device)
                sums = torch.stack([s.coefficient * s.vector.float() for _, s in own])
                added[places] = sums.to(added.device)

    def _decode(self) -> None:
        columns = self.slots.columns
        if columns.end == columns.size:
            live = self.starts[: len(self.index)]
            first = int(live.min())
            live -= self.slots.shift(len(live), first, max(columns.end - first, self.widest))
        changes = {layer: functools.partial(steer, self.added, layer) for layer in self.added}
        with on_blocks(self.model.blocks, changes):
            logits = self.step.logits(len(self.index))
        self._take(0, logits)

    def _take(self, first: int, logits: Tensor) -> None:
        """Choose the next token of the rows from slot `first` on; rows that end leave."""
        here = slice(first, first + len(logits))
        counts = self.counts[here]
        token = choose(logits, self.seeds[here], counts, self.sampling)
        self.tokens[here] = token
        self.written[here].scatter_(1, counts[:, None], token[:, None])
        counts += 1
        ended = torch.isin(token, self.ends)
        looped = torch.zeros_like(ended)
        if self.sampling.cut_loops:
            # Looked for at every eighth token of a row, whichever rows stand beside it.
            looped = looping(self.written[here], counts) & (counts % LOOP_PERIOD == 0) & ~ended
        leaving = ended | looped | (counts == self.sampling.max_new_tokens)
        if bool(leaving.any()):
            self._leave(leaving.nonzero()[:, 0] + first, ended[leaving], looped[leaving])

    def _leave(self, slots: Tensor, ended: Tensor, looped: Tensor) -> None:
        """Hand out finished rows; the last rows move into their slots."""
        found = zip(
            slots.tolist(),
            self.written[slots].tolist(),
            self.counts[slots].tolist(),
            ended.tolist(),
            looped.tolist(),
            strict=True,
        )
        for slot, ids, count, stopped, repeats in found:
            finish: Finish = "stop" if stopped else "loop" if repeats else "length"
            index, generated = self.index[slot], Generated(tuple(ids[: count - stopped]), finish)
            self.results[index] = generated
            self.finished(index, generated)
        gone = set(slots.tolist())
        left = len(self.index) - len(gone)
        holes = [slot for slot in gone if slot < left]
        movers = [slot for slot in range(left, len(self.index)) if slot not in gone]
        for hole, mover in zip(holes, movers, strict=True):
            self.index[hole] = self.index[mover]
        del self.index[left:]
        if holes:
            self._move(torch.tensor(movers), torch.tensor(holes))

    def _move(self, source: Tensor, target: Tensor) -> None:
        for state in (self.tokens, self.starts, self.counts, self.seeds, self.written):
            state[target.to(state.device)] = state[source.to(state.device)]
        for added in self.added.values():
            added[target.to(added.device)] = added[source.to(added.device)]
        self.slots.move(source, target, int(self.starts[target.to(self.starts.device)].min()))

    def _halve(self) -> None:
        """Memory ran out: the rows in slots wait again, and half as many are decoded together."""
        if self.batch_rows == 1:
            row = self.rows[self.index[0] if self.index else self.waiting[0]]
            raise TraitsteerError(
                f"One row of {len(row.prompt_ids)} prompt and at most "
                f"{self.sampling.max_new_tokens} response tokens does not fit into memory beside "
                f"{self.model.name}; choose a smaller model or dtype, or shorter responses."
            )
        self.batch_rows = max(1, self.batch_rows // 2)
        self.batch_tokens = max(1, self.batch_tokens // 2)
        self._wait([*self.waiting, *self.index])
        # The old buffers go before new ones are made.
        self.step.graphs.clear()
        del self.slots, self.step, self.added
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        self._empty_slots()
