"""Generation with the cache that `transformers` makes, for models that slots do not fit.

Some blocks keep other things of the past than keys and values, as linear attention does, attend in
chunks, or expect masks of their own. Here nothing is asked of them but what `generate` of
`transformers` asks: rows of one prompt length are decoded together, so that none is padded, and
rows that have finished leave the batch. No other takes its place, and prompts are shared where rows
differ in nothing but their seeds, so that this is slower than slots are.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any

import torch
from torch import Tensor

from traitsteer.engine.added import Added, adding_by_block
from traitsteer.engine.rows import Batching, Generated, Row, Sampling, no_numbers, too_large
from traitsteer.engine.sharing import Alike, key_of
from traitsteer.engine.writing import Writing
from traitsteer.words.shapes import Float, Int
from traitsteer.world.model.hooks import Change, on_blocks
from traitsteer.world.model.inference import LAST_TOKEN, told_by_the_host
from traitsteer.world.model.language_model import LanguageModel


def by_own_cache(
    model: LanguageModel,
    rows: Sequence[Row],
    sampling: Sampling,
    batching: Batching,
    finished: Callable[[int, Generated], None],
) -> list[Generated]:
    """As `generation.generate`, for a model that was tried; the caller has inference mode on.

    Raises:
        TraitsteerError: a single row does not fit into memory, or its logits are not finite.
    """
    results: dict[int, Generated] = {}
    most, tokens = min(batching.rows, len(rows)), batching.tokens
    waiting = deque(_in_turn(rows, most))
    while waiting:
        chosen = _next(rows, waiting, most, tokens)
        saying = _say(model, [rows[index] for index in chosen], sampling)
        while True:
            try:
                with told_by_the_host():
                    place, generated = next(saying)
            except StopIteration:
                break
            except torch.OutOfMemoryError:
                place = None
            # Out here, where the failed pass holds no memory.
            if place is None:
                if len(chosen) == 1:
                    raise too_large(model, rows[chosen[0]], sampling.max_new_tokens)
                most, tokens = len(chosen) // 2, max(1, tokens // 2)
                if model.device.type == "cuda":
                    torch.cuda.empty_cache()
                waiting.extendleft(index for index in reversed(chosen) if index not in results)
                break
            results[chosen[place]] = generated
            finished(chosen[place], generated)
    return [results[index] for index in range(len(rows))]


def _in_turn(rows: Sequence[Row], window: int) -> list[int]:
    """The rows of each prompt length in windows, and the window with the earliest row first.

    So passes are full, and rows that come first still finish first. Within a window rows of one
    prompt and of one setting follow each other.
    """
    numbers: dict[object, int] = {}
    settings = [numbers.setdefault(_setting(row), len(numbers)) for row in rows]
    of_length: dict[int, list[int]] = {}
    for index, row in enumerate(rows):
        of_length.setdefault(len(row.prompt_ids), []).append(index)
    windows = sorted(
        some[first : first + window]
        for some in of_length.values()
        for first in range(0, len(some), window)
    )
    return [
        index
        for some in windows
        for index in sorted(some, key=lambda at: (rows[at].prompt_ids, settings[at], at))
    ]


def _setting(row: Row) -> object:
    return key_of(row.steered("prompt"))


def _next(rows: Sequence[Row], waiting: deque[int], most: int, tokens: int) -> list[int]:
    """Take from `waiting` the next rows of one prompt length, one at least, for one pass."""
    length = len(rows[waiting[0]].prompt_ids)
    runs: set[object] = set()
    chosen: list[int] = []
    while waiting and len(chosen) < most:
        row = rows[waiting[0]]
        runs.add((row.prompt_ids, _setting(row)))
        if len(row.prompt_ids) != length or (chosen and length * len(runs) > tokens):
            break
        chosen.append(waiting.popleft())
    return chosen


def _say(
    model: LanguageModel, rows: Sequence[Row], sampling: Sampling
) -> Generator[tuple[int, Generated], None, None]:
    """Decode rows of one prompt length; give the place of each and what it said, as rows finish."""
    writing = Writing(sampling, model.end_ids, len(rows), model.device)
    writing.admit(0, rows)
    places = list(range(len(rows)))
    tokens = torch.zeros(len(rows), dtype=torch.long, device=model.device)
    together = Together(model, rows)
    logits = together.logits
    while True:
        said = writing.choose(0, logits, tokens[: len(places)])
        leaving, ended, looped, lost = said.unbind(dim=1)
        if bool(leaving.any()):
            if bool(lost.any()):
                raise no_numbers(model, rows[places[int(lost.int().argmax())]])
            gone = leaving.nonzero()[:, 0]
            texts = writing.finished(gone, ended[leaving], looped[leaving])
            yield from [(places[at], text) for at, text in zip(gone.tolist(), texts, strict=True)]
            stay = (~leaving).nonzero()[:, 0]
            places = [places[at] for at in stay.tolist()]
            if not places:
                return
            together.keep(stay)
            for state in (tokens, *writing.of_rows):
                state[: len(places)] = state[stay]
        logits = together.step(tokens[: len(places)])


class Together:
    """Rows of one prompt length, after their prompts or later tokens; inference mode is on."""

    def __init__(self, model: LanguageModel, rows: Sequence[Row]) -> None:
        self.model = model
        self.added = Added(model, rows, len(rows))
        self.added.fill(0, rows)
        alike = Alike.of(rows, [row.steered("prompt") for row in rows], model.layers)
        runs = alike.level(model.layers)
        first = [rows[at] for at in runs.first]
        ids = torch.tensor([row.prompt_ids for row in first], device=model.device)
        everywhere = torch.ones(ids.shape, dtype=torch.bool)
        changes = adding_by_block([row.steered("prompt") for row in first], everywhere)
        logits, self.cache = self._pass(ids, None, changes)
        of_row = torch.from_numpy(runs.place).to(logits.device)
        self.logits = logits.index_select(0, of_row)
        """Of the first response token, `[rows, vocabulary]`."""
        if len(first) < len(rows):
            self.cache.reorder_cache(of_row)

    def step(self, tokens: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        """Logits after these tokens."""
        logits, self.cache = self._pass(tokens[:, None], self.cache, self.added.changes())
        return logits

    def keep(self, rows: Int[Tensor, " n"]) -> None:
        """Only these rows stay, in this order."""
        self.cache.reorder_cache(rows)
        self.added.keep(rows)

    def _pass(
        self,
        ids: Int[Tensor, "rows tokens"],
        cache: Any,  # noqa: ANN401 - architectures have caches of their own
        changes: dict[int, Change],
    ) -> tuple[Float[Tensor, "rows vocabulary"], Any]:
        with on_blocks(self.model.blocks, changes):
            found = self.model.model(
                input_ids=ids,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=LAST_TOKEN,
            )
        return found.logits[:, -1], found.past_key_values
