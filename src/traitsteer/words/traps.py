"""Records of traps: answers whose scores are known before a judge is asked."""

from dataclasses import dataclass

from traitsteer.words.records import Answer


@dataclass(frozen=True)
class Bounds:
    """The scores that are right for an item, both ends included."""

    lower: float
    upper: float

    def hold(self, score: float | None) -> bool:
        """Whether a score lies within; a missing one does not."""
        return score is not None and self.lower <= score <= self.upper


@dataclass(frozen=True)
class Trap:
    """One item of a trap, and what is right for it; None where nothing is expected."""

    name: str
    """The trap that it belongs to."""
    why: str
    answer: Answer
    trait: Bounds | None
    coherence: Bounds | None
