"""Steered generation: rows in, token ids out, every row with a setting and a seed of its own.

Rows of any settings are one stream. As many as there are slots are decoded together; a row that
has finished leaves at once, and waiting rows take its place, so that a long answer holds nobody
up. A setting travels with its row, and a sample depends on the row's seed and step alone: neither
batch size nor order changes what a row says, but for rounding in 16 bits.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from traitsteer.engine.attention import by_the_table
from traitsteer.engine.decoding import Decoder, Use
from traitsteer.engine.own_cache import by_own_cache
from traitsteer.engine.prefill import prefill
from traitsteer.engine.rows import (
    Batching,
    Generated,
    Row,
    Sampling,
    check,
    no_numbers,
    side_by_side,
    too_large,
)
from traitsteer.engine.sharing import key_of
from traitsteer.engine.trial import try_out
from traitsteer.engine.writing import Writing
from traitsteer.words.shapes import Bool
from traitsteer.world.model.inference import inference, told_by_the_host
from traitsteer.world.model.language_model import LanguageModel

Finished = Callable[[int, Generated], None]
"""Takes the number of a row and what it generated."""
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
            engine cannot run the model (see `trial.py`), or a single row does not fit into memory.
    """
    check(model, rows, sampling.max_new_tokens)
    if not rows:
        return []
    way = try_out(model, batching.capture)
    if way == "own cache":
        with inference(model.model):
            return by_own_cache(model, rows, sampling, batching, finished)
    stream = _Stream(model, rows, sampling, batching, way == "captured", finished)
    with inference(model.model):
        try:
            stream.run()
        finally:
            stream.decoder.graphs.clear()
    stream.decoder.slots.release()
    return [stream.results[index] for index in range(len(rows))]


class _Stream:
    """Rows that wait, rows in slots, and rows that have finished."""

    def __init__(
        self,
        model: LanguageModel,
        rows: Sequence[Row],
        sampling: Sampling,
        batching: Batching,
        capture: bool,
        finished: Finished,
    ) -> None:
        self.model, self.rows, self.sampling, self.finished = model, rows, sampling, finished
        self.capture = capture
        self.results: dict[int, Generated] = {}
        self.done: list[int] = []
        """Rows that have finished and are not yet handed out."""
        # A pass over prompts may be one column wider than the longest of them.
        self.widest = 1 + max(len(row.prompt_ids) for row in rows)
        self.batch_rows, self.batch_tokens = min(batching.rows, len(rows)), batching.tokens
        self._begin(range(len(rows)))

    def _begin(self, indices: Sequence[int]) -> None:
        """These rows wait for slots, of which there are as many as memory has room for."""
        self.waiting = deque(side_by_side(self.rows, sorted(indices), self.batch_rows))
        try:
            with told_by_the_host():
                self._empty_slots()
            return
        except torch.OutOfMemoryError:
            pass
        self._halve(indices)

    def _empty_slots(self) -> None:
        device, slots = self.model.device, self.batch_rows
        most = self.sampling.max_new_tokens
        # Rows that take a free slot begin at the column where the others are.
        size = self.widest + most + (_SLACK if len(self.waiting) > slots else 0)
        # Attention kernels of GPUs copy a mask that is not a multiple of 16 wide.
        size += -size % 16
        if self.capture and not by_the_table(self.model):
            # All columns are read, and MPT has biases for no more of them than its context.
            size = min(size, self.model.context or size)
        self.index: list[int] = []
        """Number of the row in each slot; its length is the number of live rows."""
        self.writing = Writing(self.sampling, self.model.end_ids, slots, device)
        # The last token of a response is chosen and not run.
        last = self.widest - 1 + most - 2
        use = Use(partial(self.writing.choose, 0), self.writing.reads_back)
        self.decoder = Decoder(
            self.model, use, self.rows, slots, size, self.widest, last, self.capture
        )

    def run(self) -> None:
        """Decode until every row has finished."""
        while self.waiting or self.index:
            full = False
            try:
                with told_by_the_host():
                    self._advance()
            except torch.OutOfMemoryError:
                full = True
            # Out here, where the failed pass holds no memory, and where what is made of a finished
            # row can run out of memory without passing for the engine.
            self._hand_out()
            if full:
                # The old buffers go before new ones are made.
                self.decoder.drop()
                self._halve([*self.index, *self.waiting])

    def _advance(self) -> None:
        free = self.batch_rows - len(self.index)
        # Few free slots are not worth a pass of their own; the rows decoded lose nothing.
        if self.waiting and free >= min(len(self.waiting), max(1, self.batch_rows // 8)):
            self._admit(free)
        else:
            self._take(0, self.decoder.step())

    def _hand_out(self) -> None:
        done, self.done = self.done, []
        for index in done:
            self.finished(index, self.results[index])

    def _admit(self, free: int) -> None:
        """Give the next waiting rows a slot, and choose their first tokens."""
        chosen = self._next(free)
        rows = [self.rows[index] for index in chosen]
        prefilled = prefill(self.model, rows)
        self.decoder.admit(rows, prefilled)
        first = len(self.index)
        self.writing.admit(first, rows)
        self.index += chosen
        for _ in chosen:
            self.waiting.popleft()
        tokens = self.decoder.tokens[first : first + len(rows)]
        self._take(first, self.writing.choose(first, prefilled.logits, tokens))

    def _next(self, free: int) -> list[int]:
        """Waiting rows for one pass over prompts.

        Those that differ in what comes after the prompt alone are one run of it. The rows of a
        prompt are split between two passes only where that is half of a pass.
        """
        chosen: list[int] = []
        runs: set[object] = set()
        whole = width = 0
        for index in islice(self.waiting, free):
            prompt = self.rows[index].prompt_ids
            runs.add((prompt, key_of(self.rows[index].steered("prompt"))))
            if chosen and prompt != self.rows[chosen[-1]].prompt_ids:
                whole = len(chosen)
            width = max(width, len(prompt))
            if chosen and width * len(runs) > self.batch_tokens:
                return chosen[:whole] if 2 * whole >= len(chosen) else chosen
            chosen.append(index)
        return chosen

    def _take(self, first: int, said: Bool[Tensor, "rows 4"]) -> None:
        """The rows from slot `first` on have a next token; those that end leave.

        Args:
            said: what `Writing.choose` says of each of them.
        """
        self.decoder.tell(first)
        leaving, ended, looped, lost = said.unbind(dim=1)
        if bool(leaving.any()):
            if bool(lost.any()):
                raise no_numbers(
                    self.model, self.rows[self.index[first + int(lost.int().argmax())]]
                )
            self._leave(leaving.nonzero()[:, 0] + first, ended[leaving], looped[leaving])
        self.decoder.settle()

    def _leave(self, slots: Tensor, ended: Tensor, looped: Tensor) -> None:
        """Finished rows leave their slots, and the last rows move into these."""
        found = self.writing.finished(slots, ended, looped)
        gone = set(slots.tolist())
        left = len(self.index) - len(gone)
        holes = [slot for slot in gone if slot < left]
        movers = [slot for slot in range(left, len(self.index)) if slot not in gone]
        self.decoder.leave(left, movers, holes, self.writing.of_rows)
        # Until here memory may run out, and then all rows in slots wait again.
        for slot, generated in zip(slots.tolist(), found, strict=True):
            self.results[self.index[slot]] = generated
            self.done.append(self.index[slot])
        for hole, mover in zip(holes, movers, strict=True):
            self.index[hole] = self.index[mover]
        del self.index[left:]

    def _halve(self, indices: Sequence[int]) -> None:
        """Memory ran out: these rows begin again, and half as many are decoded together."""
        if self.batch_rows == 1:
            raise too_large(self.model, self.rows[indices[0]], self.sampling.max_new_tokens)
        self.batch_rows //= 2
        self.batch_tokens = max(1, self.batch_tokens // 2)
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        self._begin(indices)
