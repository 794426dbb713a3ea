"""When requests may be sent: so many a minute, not while the endpoint asks for a pause, and no more
once it only fails.

All of it belongs to one event loop, so that nothing is locked.
"""

import asyncio
import random
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONGEST = 30.0
"""Seconds; waits double up to here."""
_LEAST_GAP, _WIDEST_GAP = 0.05, 5.0
"""Seconds between requests to an endpoint that found them too many: the first gap, and the last."""
_WIDER, _NARROWER = 1.4, 0.98
"""Times the gap, after one request too many and after a reply."""


@dataclass(frozen=True)
class Patience:
    """How long is waited, in seconds."""

    request: float
    """For one request, from its first byte to the last of its reply."""
    answer: float
    """For all requests of one question about an answer, with the waits between them; waiting for
    a place among the requests in flight or for the rate limit is not counted."""
    first_wait: float = 0.5
    """About so long after the first failure, and twice as long after each further one."""

    def wait(self, failures: int, asked: float | None) -> float:
        """Seconds until the next attempt: doubled with jitter, and no fewer than asked for.

        Args:
            failures: how many attempts have failed, at least 1.
            asked: what `retry_after` read from the last reply.
        """
        # Jitter, or all that were refused together come back together.
        jitter = random.random()
        doubled = min(_LONGEST, self.first_wait * 2.0 ** (failures - 1)) * (0.5 + 0.5 * jitter)
        return doubled if asked is None else max(doubled, asked + jitter * self.first_wait)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a reply asks to wait, as a number or as a date; None where it does not say."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return seconds if 0 <= seconds < float("inf") else None


class Pace:
    """Lets one request through at a time, at the rate that is set, or slower if that is too fast.

    A request that comes too soon widens the gap between requests, and each reply narrows it a
    little, so that the gap hovers about the one that the endpoint allows.
    """

    def __init__(self, per_minute: int | None) -> None:
        self._least = self._between = 60.0 / per_minute if per_minute else 0.0
        self._next = self._slowed = 0.0

    async def turn(self) -> None:
        """Wait until a request may be sent."""
        loop = asyncio.get_running_loop()
        while (left := self._next - loop.time()) > 0:
            await asyncio.sleep(left)
        self._next = loop.time() + self._between

    def too_fast(self, sent: float) -> None:
        """Note that a request, sent at this time of the loop, came too soon after others."""
        # What was sent before the gap was widened says nothing of the gap that there is now.
        if sent >= self._slowed:
            self._slowed = asyncio.get_running_loop().time()
            self._between = min(max(_WIDER * self._between, _LEAST_GAP), _WIDEST_GAP)

    def answered(self) -> None:
        """Note a reply."""
        self._between = max(_NARROWER * self._between, self._least)

    def pause(self, seconds: float) -> None:
        """Let nothing through for so long."""
        loop = asyncio.get_running_loop()
        self._next = max(self._next, loop.time() + seconds)


class Fuse:
    """Blows when half of the last questions failed for good: then the endpoint is down."""

    def __init__(self, failures: int = 8) -> None:
        self._most = failures
        self._last: deque[bool] = deque(maxlen=2 * failures)

    def blown_by(self, failed: bool) -> bool:
        """Note how a question ended; return whether too many have failed."""
        self._last.append(failed)
        return sum(self._last) >= self._most


class Silence:
    """Tells an endpoint that answers nothing by its attempts, long before questions fail for good:
    while many take turns, the patience with each of them is used up late.

    An endpoint has fallen silent once attempts at several prompts failed, and nothing came, for as
    long as one question is waited for. One reply, however late, and it has not.
    """

    def __init__(self, seconds: float, prompts: int = 8) -> None:
        self._longest, self._most = seconds, prompts
        self._since = 0.0
        self._asking = 0
        self._failed: set[str] = set()

    @contextmanager
    def listening(self, now: float) -> Iterator[None]:
        """While a question is asked; with the first of them the silence begins."""
        if not self._asking:
            self.broken(now)
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1

    def lasts(self, now: float) -> bool:
        """Whether nothing has come for as long as one question is waited for."""
        return now - self._since >= self._longest

    def broken(self, now: float) -> None:
        """Note a reply."""
        self._since = now
        self._failed.clear()

    def after(self, prompt: str, now: float) -> bool:
        """Note that an attempt at a prompt failed; return whether the endpoint has fallen silent.

        One prompt that fails again and again says nothing of the others.
        """
        self._failed.add(prompt)
        return len(self._failed) >= self._most and self.lasts(now)
