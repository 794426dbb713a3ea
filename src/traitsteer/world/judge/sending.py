"""Requests to an endpoint: so many at once, at a pace, again after a failure, each reply kept.

What fails for a moment is sent again; what cannot succeed ends the run with one sentence.
"""

import asyncio
import math
import weakref
from dataclasses import dataclass
from typing import NoReturn

from traitsteer.words.errors import TraitsteerError
from traitsteer.world.files import digest
from traitsteer.world.judge.model_judge import PROBE, tokens_of
from traitsteer.world.judge.openai_client import Client, Refused, Trouble
from traitsteer.world.judge.pacing import Fuse, Pace, Patience, Silence
from traitsteer.world.judge.replies import SENT, Reply
from traitsteer.world.judge.score_cache import ScoreCache
from traitsteer.world.judge.spending import Spending
from traitsteer.world.progress import say


@dataclass(frozen=True)
class Limits:
    """How an endpoint is treated."""

    requests_at_once: int
    per_minute: int | None
    patience: Patience


class GaveUp(Exception):
    """One question is missing."""


@dataclass
class Left:
    """Seconds that are left to one question."""

    seconds: float
    unreached: float = math.inf
    """Most that are left once a connection was refused."""


class Sender:
    """Sends prompts to one model at one endpoint; all of it belongs to one event loop."""

    def __init__(
        self, model: str, cache: ScoreCache, spending: Spending, limits: Limits, attempt: int
    ) -> None:
        """Open the client; nothing is sent yet.

        Args:
            attempt: another number asks everything again, beside what is kept.

        Raises:
            TraitsteerError: there is no key.
        """
        self.client = Client(model, limits.patience.request)
        self.patience = limits.patience
        self.of = {"address": self.client.address, "model": model, **SENT}
        """What every reply depends on besides its prompt."""
        if attempt:
            self.of["attempt"] = attempt
        self.answering = ""
        """The model that the endpoint said has answered first; empty while it is not known."""
        self._cache, self._spending = cache, spending
        self._places = asyncio.Semaphore(limits.requests_at_once)
        self._pace, self._fuse = Pace(limits.per_minute), Fuse()
        self._silence = Silence(limits.patience.answer)
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._sent: set[asyncio.Task[Reply | Trouble]] = set()
        self._answered = self._told = False
        """Whether it answered since it last refused a prompt, and whether that was told."""
        self._over: str | None = None
        """Why nothing is sent any more."""

    async def all_sent(self) -> None:
        """Wait until every request that was sent has come back and is kept."""
        await asyncio.gather(*self._sent, return_exceptions=True)

    async def reply(self, prompt: str, begun: str, left: Left) -> Reply:
        """The reply to a prompt, or how it goes on from `begun`; from the cache if it is there.

        Raises:
            GaveUp: no reply came in the time that was left, or the endpoint will not take this
                prompt and takes others.
            TraitsteerError: the endpoint cannot be used any further, or the budget would be passed.
        """
        key = self._key(prompt, begun)
        lock = self._locks.setdefault(digest(key), asyncio.Lock())
        # Equal questions wait for each other, so that none is paid for twice.
        async with lock:
            kept = self._cache.get(key)
            if kept is not None:
                return Reply.from_json(kept)
            try:
                return await self.attempts(prompt, begun, left)
            except (Refused, TraitsteerError) as error:
                if isinstance(error, Refused) and error.of_one and await self._answers(left):
                    self._tell(str(error))
                    raise GaveUp(str(error)) from None
                self._over = self._over or str(error)
                raise TraitsteerError(self._over) from None

    async def attempts(self, prompt: str, begun: str, left: Left) -> Reply:
        """Send, whatever is kept, until there is a reply.

        Raises:
            GaveUp: no reply came in the time that was left.
            Refused: the endpoint will never answer.
            TraitsteerError: nothing more may be sent.
        """
        with self._silence.listening(asyncio.get_running_loop().time()):
            return await self._attempts(prompt, begun, left)

    async def _attempts(self, prompt: str, begun: str, left: Left) -> Reply:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            async with self._places:
                if not self._over:
                    await self._pace.turn()
                if self._over:
                    raise TraitsteerError(self._over)
                began = loop.time()
                seconds = min(self.patience.request, left.seconds)
                task = loop.create_task(self._send(prompt, begun, seconds))
                self._sent.add(task)
                task.add_done_callback(self._sent.discard)
                # What was sent is paid for: it comes to its end even if nobody waits any more.
                found = await asyncio.shield(task)
            if isinstance(found, Reply):
                left.seconds -= loop.time() - began
                self._answered = True
                self._pace.answered()
                self._fuse.blown_by(False)
                self._silence.broken(loop.time())
                return found
            if self._silence.after(prompt, loop.time()):
                self._end(found)
            asked = found.wait or 0.0
            if found.too_many:
                # A question has all its time as long as others are answered.
                self._pace.too_fast(began)
                if asked >= left.seconds or self._silence.lasts(loop.time()):
                    self._give_up(found)
                self._pace.pause(asked)
                continue
            left.seconds -= loop.time() - began
            failures += 1
            wait = self.patience.wait(failures, found.wait)
            if found.unreached:
                left.seconds = min(left.seconds, left.unreached)
            if wait >= left.seconds:
                self._give_up(found)
            left.seconds -= wait
            self._pace.pause(asked)
            await asyncio.sleep(wait)

    async def _answers(self, left: Left) -> bool:
        """Whether the endpoint answers other prompts than one that it refused: since the last that
        it refused, or now.
        """
        if not self._answered:
            try:
                await self.attempts(PROBE, "", left)
            except Refused:
                return False
        self._answered = False
        return True

    def _tell(self, sentence: str) -> None:
        if not self._told:
            say(f"judge: {sentence} Such a question has no score; others like it are not told of.")
        self._told = True

    def _give_up(self, trouble: Trouble) -> NoReturn:
        if self._fuse.blown_by(True):
            self._end(trouble)
        raise GaveUp(trouble.what)

    def _end(self, trouble: Trouble) -> NoReturn:
        raise TraitsteerError(
            f"The judge at {self.client.host} keeps failing ({trouble.what}); what was scored "
            "is kept in .cache/: run again when it is well, or "
            + ("set judge.requests_per_minute." if trouble.too_many else "raise judge.deadline_s.")
        )

    async def _send(self, prompt: str, begun: str, seconds: float) -> Reply | Trouble:
        """One request, counted; its reply is kept on disk before anything is made of it."""
        about = tokens_of(prompt)
        self._spending.begin(about)
        found = await self.client.send(prompt, begun, seconds)
        if isinstance(found, Reply):
            self._spending.correct(about, found.tokens or about)
            self._check_answering(found.model)
            # Nothing at all is no answer; that nothing follows on a beginning may be one.
            if not found.empty or (begun and found.stopped):
                self._cache.put(self._key(prompt, begun), found.to_json())
        elif found.too_many:
            self._spending.take_back(about)
        return found

    def _check_answering(self, model: str) -> None:
        """Refuse another model than the first: scores of two models are no scores of one judge."""
        if model and self.answering and model != self.answering:
            raise TraitsteerError(
                f"The judge {self.client.model!r} at {self.client.host} was {self.answering!r} "
                f"when it was first asked and is {model!r} now; set judge.name to one of the two, "
                "so that all scores are of one model."
            )

    def _key(self, prompt: str, begun: str) -> dict[str, object]:
        return self.of | {"prompt": prompt, "begun": begun}
