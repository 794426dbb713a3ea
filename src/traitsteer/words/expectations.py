"""Records of what a finished study is expected to show, and of what it showed."""

from dataclasses import dataclass
from typing import Literal

Standing = Literal["ok", "outside", "not measured"]


@dataclass(frozen=True)
class Expectation:
    """A measure and the range in which it is expected, both ends included."""

    measure: str
    lower: float
    upper: float
    why: str
    traits: tuple[str, ...] = ()
    """Empty: every trait of the study."""
    arms: tuple[str, ...] = ()
    """Empty: every arm of the study."""
    layer: int | None = None
    """For measures of one layer."""


@dataclass(frozen=True)
class Observed:
    """What one expectation met with, for one trait and arm where it has them."""

    expectation: Expectation
    trait: str | None
    arm: str | None
    value: float | None
    """None: no file of the study holds it."""

    @property
    def found(self) -> Standing:
        """Whether the value lies within the range."""
        if self.value is None:
            return "not measured"
        within = self.expectation.lower <= self.value <= self.expectation.upper
        return "ok" if within else "outside"
