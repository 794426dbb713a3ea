"""Questions to any endpoint that speaks the protocol of OpenAI, many at once, none asked twice.

A reply's first tokens come with the probabilities of the likeliest 20 in their place, from which
the distribution over numbers is read (`maths/expectation.py`). Where digits are tokens of their
own, the digits off the reply's path are asked for by beginning the reply with them, if the endpoint
can continue a reply: that is found out once, by having it continue one that it gave itself.

Requests run in the background, `requests_at_once` of them; every reply is kept on disk when it
arrives. What fails for a moment is sent again; what cannot succeed ends the run with one sentence.
"""

import asyncio
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from traitsteer.maths.expectation import SCORES, Tally, follow, settle
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer, Judgement
from traitsteer.world.background import Background
from traitsteer.world.files import digest
from traitsteer.world.model_judge import (
    FAILED,
    ModelJudge,
    Question,
    Said,
    judgement,
    said,
    tokens_of,
)
from traitsteer.world.openai_client import Client, Refused, Trouble
from traitsteer.world.pacing import Fuse, Pace, Patience
from traitsteer.world.prompt_files import Prompts
from traitsteer.world.replies import FOLLOWED, SENT, Reply
from traitsteer.world.score_cache import ScoreCache
from traitsteer.world.spending import Spending

PROBE = "How many minutes are there in an hour? Answer with the number alone."
_SAME = 0.05
"""Probabilities nearer than this are those of one distribution, computed twice."""
_OPENING_S = 20.0
"""Seconds after which an endpoint that was never heard of counts as not there."""

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """How an endpoint is treated."""

    requests_at_once: int
    per_minute: int | None
    patience: Patience


class _GaveUp(Exception):
    """One question is missing."""


@dataclass
class _Left:
    """Seconds that are left to one question."""

    seconds: float


class Endpoint:
    """Answers questions with a chat model behind HTTP, many at once."""

    def __init__(
        self,
        model: str,
        cache: ScoreCache,
        spending: Spending,
        limits: Limits,
        minimum_mass: float,
        attempt: int = 0,
    ) -> None:
        """Open the client and find out what the endpoint does, from the cache if it is known.

        Args:
            attempt: another number asks everything again, beside what is kept.

        Raises:
            TraitsteerError: there is no key, or the endpoint cannot be reached, lacks the model or
                gives no probabilities.
        """
        self._client = Client(model, limits.patience.request)
        self._of = {"address": self._client.address, "model": model, **SENT}
        if attempt:
            self._of["attempt"] = attempt
        self._cache, self._spending = cache, spending
        self._patience, self._minimum_mass = limits.patience, minimum_mass
        self._places = asyncio.Semaphore(limits.requests_at_once)
        self._pace, self._fuse = Pace(limits.per_minute), Fuse()
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._sent: set[asyncio.Task[Reply | Trouble]] = set()
        self._over: str | None = None
        """Why nothing is sent any more."""
        self._background = Background(last=self._client.close)
        self._whole, self._continues = self._background.call(self._manners())

    def ask(self, questions: Sequence[Question]) -> list[Said]:
        """What is said to each question, in order; one whose requests all fail is missing.

        Raises:
            TraitsteerError: the endpoint cannot be used any further, or the budget would be passed.
        """
        future = self.begin(questions, lambda heard: heard)
        try:
            return future.result()
        finally:
            future.cancel()
            self.settle()

    def begin(self, questions: Sequence[Question], made: Callable[[list[Said]], T]) -> Future[T]:
        """Ask without waiting; the future holds what `made` makes of what is said."""

        async def all_of_them() -> T:
            return made(list(await asyncio.gather(*map(self._ask, questions))))

        return self._background.begin(all_of_them())

    def settle(self) -> None:
        """Wait until every request that was sent has come back and is kept."""

        async def all_sent() -> None:
            await asyncio.gather(*self._sent, return_exceptions=True)

        self._background.call(all_sent())

    async def _ask(self, question: Question) -> Said:
        left = _Left(self._patience.answer)
        try:
            reply = await self._reply(question.prompt, "", left)
            tally = Tally(question.numerals)
            branches = follow(tally, "", 1.0, reply.places, reply.stopped)
            unknown: dict[str, float] = {}
            while branches:
                digits, chance = branches.popitem()
                asked = self._continues and chance >= FOLLOWED
                if not (asked and question.numerals.goes_on(digits)):
                    unknown[digits] = unknown.get(digits, 0.0) + chance
                    continue
                more = await self._reply(question.prompt, digits, left)
                further = follow(tally, digits, chance, more.places, more.stopped)
                for longer, likely in further.items():
                    branches[longer] = branches.get(longer, 0.0) + likely
        except _GaveUp:
            return FAILED
        settle(tally, unknown, self._whole)
        return said(tally, reply.text, reply.refused, self._minimum_mass)

    async def _reply(self, prompt: str, begun: str, left: _Left) -> Reply:
        """The reply to a prompt, or how it goes on from `begun`; from the cache if it is there."""
        key = self._of | {"prompt": prompt, "begun": begun}
        lock = self._locks.setdefault(digest(key), asyncio.Lock())
        # Equal questions wait for each other, so that none is paid for twice.
        async with lock:
            kept = self._cache.get(key)
            if kept is not None:
                return Reply.from_json(kept)
            try:
                return await self._attempts(key, prompt, begun, left)
            except (Refused, TraitsteerError) as error:
                self._over = self._over or str(error)
                raise TraitsteerError(self._over) from None

    async def _attempts(self, key: object, prompt: str, begun: str, left: _Left) -> Reply:
        """Send until there is a reply; raise _GaveUp when there is no time left."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            async with self._places:
                if not self._over:
                    await self._pace.turn()
                if self._over:
                    raise TraitsteerError(self._over)
                began = loop.time()
                seconds = min(self._patience.request, left.seconds)
                task = loop.create_task(self._send(key, prompt, begun, seconds))
                self._sent.add(task)
                task.add_done_callback(self._sent.discard)
                # What was sent is paid for: it comes to its end even if nobody waits any more.
                found = await asyncio.shield(task)
            left.seconds -= loop.time() - began
            if isinstance(found, Reply):
                self._fuse.blown_by(False)
                return found
            failures += 1
            wait = self._patience.wait(failures, found.wait)
            if wait >= left.seconds:
                self._give_up(found)
            left.seconds -= wait
            if found.wait is not None:
                self._pace.pause(wait)
            await asyncio.sleep(wait)

    def _give_up(self, trouble: Trouble) -> None:
        if self._fuse.blown_by(True):
            raise TraitsteerError(
                f"The judge at {self._client.host} keeps failing ({trouble.what}); what was scored "
                "is kept in .cache/: run again when it is well, or raise judge.deadline_s."
            )
        raise _GaveUp(trouble.what)

    async def _send(self, key: object, prompt: str, begun: str, seconds: float) -> Reply | Trouble:
        """One request, counted; its reply is kept on disk before anything is made of it."""
        about = tokens_of(prompt)
        self._spending.begin(about)
        found = await self._client.send(prompt, begun, seconds)
        if isinstance(found, Reply):
            self._cache.put(key, found.to_json())
            self._spending.correct(about, found.tokens or about)
        return found

    async def _manners(self) -> tuple[bool, bool]:
        """Whether a number is always one token, and whether the endpoint continues a reply."""
        key = self._of | {"probe": PROBE}
        kept = self._cache.get(key)
        if kept is None:
            left = _Left(min(self._patience.answer, _OPENING_S))
            try:
                reply = await self._reply(PROBE, "", left)
                continues = await self._continued(reply, left)
            except _GaveUp as error:
                raise TraitsteerError(
                    f"The judge at {self._client.host} does not answer ({error}); check "
                    "OPENAI_BASE_URL and that it runs."
                ) from None
            kept = {"whole": reply.whole, "continues": continues}
            self._cache.put(key, kept)
        return kept["whole"], kept["continues"]

    async def _continued(self, reply: Reply, left: _Left) -> bool:
        """Whether the endpoint goes on from the first token of a reply as the reply itself did."""
        if reply.whole or len(reply.places) < 2:
            return False
        first = SCORES.hear("", reply.places[0].token)
        if first.kind != "open":
            return False
        key = self._of | {"prompt": PROBE, "begun": first.digits}
        try:
            more = await self._attempts(key, PROBE, first.digits, left)
        except Refused:
            return False
        return bool(more.places) and _alike(reply.places[1].chances, more.places[0].chances)


class OpenAIJudge(ModelJudge):
    """A judge behind an endpoint, to which answers can be handed one by one."""

    def __init__(
        self, endpoint: Endpoint, prompts: Prompts, rubrics: Mapping[str, str], digest: str
    ) -> None:
        super().__init__(endpoint, prompts, rubrics, digest)
        self._endpoint = endpoint

    def submit(self, trait: str, answer: Answer) -> Future[Judgement]:
        """Begin to score one answer; raises as `score` does, there or in the future."""
        return self._endpoint.begin(self.questions(trait, answer), lambda heard: judgement(*heard))

    def settle(self) -> None:
        """Wait until everything that was sent is kept."""
        self._endpoint.settle()


def _alike(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return all(abs(one.get(t, 0.0) - other.get(t, 0.0)) < _SAME for t in {*one, *other})
