"""Alternating rounds: every contender once, then every contender again, so that all share a mood.

A machine that grows slower in the middle of a run slows everybody, and a contender that fails drops
out with its reason while the others go on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

from benchmarks.processes import FailedError


@dataclass
class Times:
    """What a contender showed over the rounds."""

    seconds: list[float] = field(default_factory=list)
    failure: str | None = None
    """Why it dropped out, one sentence."""

    @property
    def median(self) -> float | None:
        """Of the rounds; None of a contender that failed in any."""
        return median(self.seconds) if self.seconds and self.failure is None else None


def alternate(
    turns: Mapping[str, Callable[[], float]],
    repeats: int,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Times]:
    """Give every contender a turn, `repeats` times over; a turn returns seconds or fails."""
    shown = {name: Times() for name in turns}
    for number in range(repeats):
        for name, turn in turns.items():
            times = shown[name]
            if times.failure is not None:
                continue
            try:
                times.seconds.append(turn())
                say(f"round {number + 1}: {name} {times.seconds[-1]:.3f} s")
            except FailedError as failure:
                times.failure = str(failure)
                say(f"round {number + 1}: {name}: {failure}")
    return shown
