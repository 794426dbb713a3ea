"""The judge beside the generator: answers are scored while others are being generated."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from traitsteer.words.records import Answer, Judge, Judgement

_AT_ONCE = 64
"""Answers that are handed over together; the judge sends as many requests as it may."""


class Judging:
    """Scores answers in a thread of its own; leaving the context drops what was not begun."""

    def __init__(self, judge: Judge, trait: str) -> None:
        self._judge, self._trait = judge, trait
        self._gathered: list[tuple[int, Answer]] = []
        self._running: list[tuple[list[int], Future[list[Judgement]]]] = []
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="judge")

    def __enter__(self) -> "Judging":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def add(self, number: int, answer: Answer) -> None:
        """Hand over an answer; the number names its judgement."""
        self._gathered.append((number, answer))
        if len(self._gathered) >= _AT_ONCE:
            self._begin()

    def ready(self) -> Iterator[tuple[int, Judgement]]:
        """Judgements that have come since the last call; raises what the judge raised."""
        while self._running and self._running[0][1].done():
            yield from self._next()

    def rest(self) -> Iterator[tuple[int, Judgement]]:
        """Wait for all that is left."""
        self._begin()
        while self._running:
            yield from self._next()

    def _begin(self) -> None:
        if self._gathered:
            numbers, answers = zip(*self._gathered, strict=True)
            future = self._thread.submit(self._judge.score, self._trait, list(answers))
            self._running.append((list(numbers), future))
            self._gathered = []

    def _next(self) -> Iterator[tuple[int, Judgement]]:
        numbers, future = self._running.pop(0)
        yield from zip(numbers, future.result(), strict=True)
