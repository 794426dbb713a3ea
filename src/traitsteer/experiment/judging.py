"""The judge beside the generator: answers are scored while others are being generated."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Protocol, runtime_checkable

from traitsteer.words.records import Answer, Judge, Judgement

_TOGETHER = 64
"""Answers that a judge which computes here takes together."""


@runtime_checkable
class Flowing(Protocol):
    """A judge that takes answers one by one and has many under way."""

    def submit(self, trait: str, answer: Answer) -> Future[Judgement]:
        """Begin to score one answer."""
        ...

    def settle(self) -> None:
        """Wait until everything that was sent has come back and is kept."""
        ...


_Done = tuple[tuple[int, ...], "Future[list[Judgement]] | Future[Judgement]"]


class Judging:
    """Scores answers outside the caller's thread; leaving the context drops what was not begun.

    A judge behind HTTP gets each answer at once and bounds what is under way itself; one that
    computes here gets a batch at a time, in one thread.
    """

    def __init__(self, judge: Judge, trait: str) -> None:
        self._judge, self._trait = judge, trait
        self._flowing = judge if isinstance(judge, Flowing) else None
        self._gathered: list[tuple[int, Answer]] = []
        self._begun: set[Future[list[Judgement]] | Future[Judgement]] = set()
        self._done: SimpleQueue[_Done] = SimpleQueue()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="judge")

    def __enter__(self) -> "Judging":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for future in self._begun:
            future.cancel()
        self._thread.shutdown(wait=True)
        if self._flowing:
            self._flowing.settle()

    def add(self, number: int, answer: Answer) -> None:
        """Hand over an answer; the number names its judgement."""
        if self._flowing:
            self._watch((number,), self._flowing.submit(self._trait, answer))
            return
        self._gathered.append((number, answer))
        if len(self._gathered) >= _TOGETHER:
            self._begin()

    def ready(self) -> Iterator[tuple[int, Judgement]]:
        """Judgements that have come since the last call; raises what the judge raised."""
        while not self._done.empty():
            yield from self._next()

    def rest(self) -> Iterator[tuple[int, Judgement]]:
        """Wait for all that is left, and yield each judgement as it comes."""
        self._begin()
        while self._begun:
            yield from self._next()

    def _begin(self) -> None:
        if self._gathered:
            numbers, answers = zip(*self._gathered, strict=True)
            self._watch(numbers, self._thread.submit(self._judge.score, self._trait, list(answers)))
            self._gathered = []

    def _watch(
        self, numbers: tuple[int, ...], future: Future[list[Judgement]] | Future[Judgement]
    ) -> None:
        self._begun.add(future)
        future.add_done_callback(lambda done: self._done.put((numbers, done)))

    def _next(self) -> Iterator[tuple[int, Judgement]]:
        numbers, future = self._done.get()
        self._begun.discard(future)
        found = future.result()
        judgements = [found] if isinstance(found, Judgement) else found
        yield from zip(numbers, judgements, strict=True)


def judge_all(
    judge: Judge, trait: str, answers: Sequence[Answer]
) -> Iterator[tuple[int, Judgement]]:
    """Judge answers that are all there; yields the place of each and its judgement, as they come.

    Raises:
        TraitsteerError: the judge cannot go on; what it scored until then is kept.
    """
    with Judging(judge, trait) as judging:
        for number, answer in enumerate(answers):
            judging.add(number, answer)
            yield from judging.ready()
        yield from judging.rest()
