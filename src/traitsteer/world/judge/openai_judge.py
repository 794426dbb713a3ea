"""Questions to any endpoint that speaks the protocol of OpenAI, many at once, none asked twice.

A reply's first tokens come with the probabilities of the likeliest 20 in their place, from which
the distribution over numbers is read (`maths/expectation.py`). Where digits are tokens of their
own, the digits off the reply's path are asked for by beginning the reply with them, if the endpoint
can continue a reply: that is found out once, by having it continue one that it gave itself.

Requests run in the background (`sending.py`); every reply is kept on disk when it arrives.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TypeVar

from traitsteer.maths.expectation import SCORES, Tally, follow, settle
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer, Judgement
from traitsteer.world.judge.background import Background
from traitsteer.world.judge.model_judge import (
    FAILED,
    PROBE,
    ModelJudge,
    Question,
    Said,
    judgement,
    said,
)
from traitsteer.world.judge.openai_client import Refused
from traitsteer.world.judge.prompt_files import JudgePrompts
from traitsteer.world.judge.replies import FOLLOWED, Reply
from traitsteer.world.judge.score_cache import ScoreCache
from traitsteer.world.judge.sending import GaveUp, Left, Limits, Sender
from traitsteer.world.judge.spending import Spending
from traitsteer.world.progress import say

_SAME = 0.05
"""Probabilities nearer than this are those of one distribution, computed twice."""
_OPENING_S = 20.0
"""Seconds that refused connections may take when an endpoint is opened; one that is reached may
be loading its model, and has as long as a request has."""

T = TypeVar("T")


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
        anew: bool = False,
    ) -> None:
        """Open the client and find out what the endpoint does, from the cache if it is known.

        Args:
            attempt: another number asks everything again, beside what is kept.
            anew: whether to ask what the endpoint does even if it is known.

        Raises:
            TraitsteerError: there is no key, or the endpoint cannot be reached, lacks the model,
                gives no probabilities or does not answer with a number.
        """
        self._sender = Sender(model, cache, spending, limits, attempt)
        self._cache, self._minimum_mass = cache, minimum_mass
        self._background = Background(last=self._sender.client.close)
        self._whole, self._continues = self._background.call(self._manners(anew))

    @property
    def manners(self) -> tuple[bool, bool]:
        """Whether numbers are one token each, and whether replies are continued."""
        return self._whole, self._continues

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
        self._background.call(self._sender.all_sent())

    async def _ask(self, question: Question) -> Said:
        left = Left(self._sender.patience.answer)
        try:
            reply = await self._sender.reply(question.prompt, "", left)
            if reply.empty:
                return FAILED
            tally = Tally(question.numerals)
            branches = follow(tally, "", 1.0, reply.places, reply.stopped)
            unknown: dict[str, float] = {}
            while branches:
                digits, chance = branches.popitem()
                asked = self._continues and chance >= FOLLOWED
                if not (asked and question.numerals.goes_on(digits)):
                    unknown[digits] = unknown.get(digits, 0.0) + chance
                    continue
                more = await self._sender.reply(question.prompt, digits, left)
                further = follow(tally, digits, chance, more.places, more.stopped)
                for longer, likely in further.items():
                    # A reply that says nothing more would be asked for again and again.
                    known = unknown if longer == digits else branches
                    known[longer] = known.get(longer, 0.0) + likely
        except GaveUp:
            return FAILED
        settle(tally, unknown, self._whole)
        return said(tally, reply.text, reply.refused, self._minimum_mass)

    async def _manners(self, anew: bool) -> tuple[bool, bool]:
        """Whether a number is always one token, and whether the endpoint continues a reply."""
        sender = self._sender
        key = sender.of | {"opened_with": PROBE}
        kept = self._cache.get(key)
        if kept is not None:
            sender.answering = kept["model"]
            # Who asks anew wants to know whether it still does.
            sender.client.gives_probabilities = not anew
        if kept is None or anew:
            try:
                # Whatever is kept: an endpoint that gave no number may have been mended.
                reply = await sender.attempts(PROBE, "", self._opening())
                self._require_number(reply)
                sender.answering = reply.model
                continues = await self._continued(reply)
            except Refused as error:
                raise TraitsteerError(str(error)) from None
            except GaveUp as error:
                raise TraitsteerError(
                    f"The judge at {sender.client.host} does not answer ({error}); check "
                    "OPENAI_BASE_URL and that it runs."
                ) from None
            kept = {"whole": reply.whole, "continues": continues, "model": reply.model}
            self._cache.put(key, kept)
        return kept["whole"], kept["continues"]

    def _opening(self) -> Left:
        """The time for a question that finds out what the endpoint does."""
        patience = self._sender.patience
        return Left(max(_OPENING_S, patience.request), min(_OPENING_S, patience.answer))

    def _require_number(self, reply: Reply) -> None:
        """Refuse an endpoint whose reply to a question for a number holds none.

        Raises:
            TraitsteerError: numbers, and what may begin one, hold too little probability.
        """
        tally = Tally(SCORES)
        settle(tally, follow(tally, "", 1.0, reply.places, reply.stopped), whole=True)
        if tally.mass < self._minimum_mass:
            raise TraitsteerError(
                f"The judge {self._sender.client.model!r} at {self._sender.client.host} was asked "
                f"for a number and replied {reply.text!r}, with a probability of {tally.mass:.2f} "
                "that a number comes first; a judge must answer with a bare number: choose a model "
                "that does so, and does not reason first."
            )

    async def _continued(self, reply: Reply) -> bool:
        """Whether the endpoint goes on from the first token of a reply as the reply itself did."""
        if reply.whole or len(reply.places) < 2:
            return False
        first = SCORES.hear("", reply.places[0].token)
        if first.kind != "open":
            return False
        try:
            more = await self._sender.attempts(PROBE, first.digits, self._opening())
        except Refused:
            return False
        except GaveUp as error:
            # Some servers fail where others refuse.
            say(
                f"judge: {self._sender.client.host} fails when it is to continue a reply "
                f"({error}); replies are read as they are until `traitsteer check` finds it mended"
            )
            return False
        return bool(more.places) and _alike(reply.places[1].chances, more.places[0].chances)


class OpenAIJudge(ModelJudge):
    """A judge behind an endpoint, to which answers can be handed one by one."""

    def __init__(
        self, endpoint: Endpoint, prompts: JudgePrompts, rubrics: Mapping[str, str], digest: str
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
