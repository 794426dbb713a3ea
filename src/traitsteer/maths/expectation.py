"""The number that a reply holds, as a distribution over numbers, from probabilities of tokens.

A judge model is asked for one number; its score is the expectation of that number rather than the
likeliest one (Chen et al. 2025, arXiv:2507.21509). Tokenizers cut numbers in different ways: "85"
is one token or two, "100" is one or three, a space may stand before it as a token or as part of
one. So a reply is read as a path: digits so far, and for each next token what it makes of them.

    P(85) = P("8") P("5" | "8") P(no digit | "85") + P("85") P(no digit | "85") + P("85.") + ...
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

Kind = Literal["waits", "open", "ended", "other"]
"""Nothing but space so far; a number that may go on; a whole number; no number that is allowed."""

_DIGITS = "0123456789"
_SPACE = " \t\r\n\f\v\u00a0▁ĠĊ"
"""White space, also as vocabularies write it."""


@dataclass(frozen=True)
class Heard:
    """What a reply holds after one more token: its digits so far, and whether more may come."""

    kind: Kind
    digits: str


class Numerals:
    """The numbers that a reply may hold, as decimal numerals without leading zeros."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self.texts = frozenset(map(str, numbers))
        self._begun = frozenset(text[:end] for text in self.texts for end in range(1, 4))

    def goes_on(self, digits: str) -> bool:
        """Whether a longer numeral begins with these digits; the empty text begins all."""
        return any(text != digits and text.startswith(digits) for text in self.texts)

    def hear(self, said: str, token: str) -> Heard:
        """What a token makes of the digits so far; white space may stand before the first."""
        return _heard(self._begun, self.texts, said, token)


SCORES = Numerals(range(101))
"""A score."""
CHOICES = Numerals(range(3))
"""Neither, the first or the second."""


@lru_cache(maxsize=1 << 18)
def _heard(begun: frozenset[str], texts: frozenset[str], said: str, token: str) -> Heard:
    text = token if said else token.lstrip(_SPACE)
    if not said and token and not text:
        return Heard("waits", "")
    found = text[: len(text) - len(text.lstrip(_DIGITS))]
    digits = said + found
    if digits not in begun:
        return Heard("other", digits)
    if found == text and text:
        return Heard("open", digits)
    return Heard("ended" if digits in texts else "other", digits)


@dataclass
class Tally:
    """The distribution over numbers as far as it is known; what is no number is left out."""

    numerals: Numerals
    chances: dict[int, float] = field(default_factory=dict)

    def count(self, digits: str, chance: float) -> None:
        """Add probability to a number; digits that are none of the numerals add nothing."""
        if digits in self.numerals.texts:
            self.chances[int(digits)] = self.chances.get(int(digits), 0.0) + chance

    @property
    def mass(self) -> float:
        """Probability that the reply holds one of the numbers."""
        return min(1.0, sum(self.chances.values()))

    @property
    def expectation(self) -> float | None:
        """Mean number, given that there is one; None when none has any probability."""
        mass = sum(self.chances.values())
        return sum(n * chance for n, chance in self.chances.items()) / mass if mass else None

    @property
    def likeliest(self) -> int | None:
        """The number of the greatest probability, the least of several; None if there is none."""
        return min(self.chances, key=lambda n: (-self.chances[n], n), default=None)


@dataclass(frozen=True)
class Place:
    """One token of a reply, and the probabilities of the likeliest tokens in its place."""

    token: str
    chances: Mapping[str, float]


def follow(
    tally: Tally, said: str, chance: float, places: Sequence[Place], stopped: bool
) -> dict[str, float]:
    """Count the numbers that a reply's own path and the tokens beside it end in.

    Args:
        said: digits that the reply goes on from; empty at its beginning.
        chance: probability of having got there.
        places: what came, token by token; each place's probabilities are given the tokens before.
        stopped: whether the reply came to its end by itself. Endpoints may leave out the place of
            the end token; the number then counts as whole.

    Returns:
        Digits that may or may not go on, off the path, with their probability.
    """
    left: dict[str, float] = {}
    for place in places:
        own = tally.numerals.hear(said, place.token)
        for token, likely in place.chances.items():
            heard = tally.numerals.hear(said, token)
            if heard.kind == "ended":
                tally.count(heard.digits, chance * likely)
            elif heard.kind == "open" and token != place.token:
                left[heard.digits] = left.get(heard.digits, 0.0) + chance * likely
        if own.kind not in ("open", "waits"):
            return left
        said, chance = own.digits, chance * place.chances.get(place.token, 0.0)
    if said and stopped:
        tally.count(said, chance)
    elif said:
        left[said] = left.get(said, 0.0) + chance
    return left


def settle(tally: Tally, left: Mapping[str, float], whole: bool) -> None:
    """Count what may or may not go on, where nobody can be asked how it does.

    Digits that no numeral goes on from are a number, and so are all where a number is always one
    token (`whole`). Elsewhere 8 may be 8 or begin 85, and 1 may be 1, 15 or 100: that is left out
    like what is no number, and the mass tells how much is.
    """
    for digits, chance in left.items():
        if whole or not tally.numerals.goes_on(digits):
            tally.count(digits, chance)
