"""What an endpoint is asked for, and its reply, read without trust: tokens and probabilities."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from traitsteer.maths.expectation import SCORES, Place
from traitsteer.world.judge.model_judge import REPLY_TOKENS

SENT: Mapping[str, Any] = {
    "max_tokens": REPLY_TOKENS,
    "temperature": 0,
    "seed": 0,
    "logprobs": True,
    "top_logprobs": 20,
}
"""What every request says besides model and prompt."""

_UNFINISHED = ("error", "abort", "aborted", "cancelled", "insufficient_system_resource")
"""Reasons to finish by which an endpoint says that it failed."""

FOLLOWED = 0.01
"""A digit off the reply's path that is likelier than this is asked for."""


class Malformed(Exception):
    """The reply is not what the protocol says; another attempt may bring a better one."""


class NoLogprobs(Exception):
    """The reply is text without probabilities."""


@dataclass(frozen=True)
class Reply:
    """What an endpoint said, as it is kept on disk."""

    places: tuple[Place, ...]
    text: str
    stopped: bool
    """Whether the reply ended by itself, and not at its greatest length."""
    refused: bool
    """Whether the endpoint marked it as a refusal or withheld it."""
    tokens: int
    """Tokens in and out that it cost; 0 where the endpoint does not say."""
    model: str = ""
    """The model that the endpoint says has answered."""

    @property
    def whole(self) -> bool:
        """Whether a number of several digits was one token, in the reply or beside it."""
        heard = [SCORES.hear("", token) for place in self.places[:1] for token in place.chances]
        return any(len(each.digits) > 1 for each in heard if each.kind in ("open", "ended"))

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it, not even a refusal."""
        return not (self.text or self.places or self.refused)

    def to_json(self) -> dict[str, Any]:
        """The reply as JSON values."""
        return vars(self) | {"places": [[p.token, dict(p.chances)] for p in self.places]}

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> "Reply":
        """The reply that `to_json` gave."""
        return cls(**kept | {"places": tuple(Place(token, c) for token, c in kept["places"])})


def refusal() -> Reply:
    """A reply that was withheld before it was made."""
    return Reply((), "", True, True, 0)


def read_reply(body: str) -> Reply:
    """Read the body of a chat completion.

    Raises:
        Malformed: it is no JSON, lacks what a completion has, or says that the endpoint failed.
        NoLogprobs: it is whole but for the probabilities.
    """
    try:
        found = json.loads(body)
        if found.get("error"):
            raise Malformed("an error in the place of a reply")
        choice = found["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        # A gateway whose provider fails half-way says so here, beside what had come till then.
        if choice.get("error") or not finish or finish in _UNFINISHED:
            raise Malformed("a reply that was broken off")
        text, declined = message.get("content") or "", message.get("refusal") or ""
        refused = bool(declined) or finish == "content_filter"
        # Not every endpoint counts what it used.
        usage = (found.get("usage") or {}).get("total_tokens") or 0
        logprobs = choice.get("logprobs") or {}
        listed = logprobs.get("content")
        if not listed and not refused and text:
            raise NoLogprobs
        if not isinstance(text + declined, str):
            raise TypeError
        return Reply(
            places=tuple(_place(each) for each in listed or ()),
            text=text or declined,
            stopped=finish != "length",
            refused=refused,
            tokens=int(usage),
            model=str(found.get("model") or ""),
        )
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise Malformed("a reply that cannot be read") from error


def _place(each: dict[str, Any]) -> Place:
    chances: dict[str, float] = {}
    tops = each["top_logprobs"]
    if not tops:
        raise NoLogprobs
    for top in tops:
        # Different tokens may read the same.
        chances[top["token"]] = chances.get(top["token"], 0.0) + _probability(top["logprob"])
    chances.setdefault(each["token"], _probability(each["logprob"]))
    if sum(chances.values()) > 1.01:
        raise ValueError("probabilities above 1")
    return Place(each["token"], chances)


def _probability(logprob: float) -> float:
    chance = math.exp(logprob)
    if not 0 <= chance <= 1.001:
        raise ValueError("no probability")
    return chance
