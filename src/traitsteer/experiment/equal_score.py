"""Two steered arms at the same trait score: which strengths they need, and whether it was reached.

The higher arm is weakened along its own frontier, at its own layer, until the trait score is that
of the lower arm, which keeps its setting. Only then do differences of style tell anything of how a
direction was found, and not of how hard it was pushed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Interval

Evaluated = Mapping[str, Any]


@dataclass(frozen=True)
class Matched:
    """The setting with which an arm enters the comparison."""

    arm: str
    method: str
    layer: int
    strength: float
    coefficient: float
    steps: tuple[tuple[float, float], ...]
    """Strength and trait score from the unsteered model up to the arm's chosen setting."""

    def at(self, score: float) -> "Matched":
        """The weakest setting of this frontier that reaches the score; the chosen one if none."""
        strength = strength_reaching(self.steps, score)
        if strength is None:
            strength = self.steps[-1][0]
        unit = self.coefficient / self.strength
        return Matched(self.arm, self.method, self.layer, strength, unit * strength, self.steps)

    @property
    def reached(self) -> float:
        """Trait score of the chosen setting on the report questions."""
        return self.steps[-1][1]


def chosen(result: Evaluated) -> Matched:
    """The setting of an evaluation, with the frontier below it.

    Raises:
        TraitsteerError: the evaluation has no frontier.
    """
    if not result.get("frontier"):
        raise TraitsteerError(
            f"The evaluation of {result['trait']} {result['arm']} {result['method']} has no "
            "frontier, expected trait scores at several strengths; run `dvc repro` to evaluate "
            "it again."
        )
    below = sorted(
        (float(step["strength"]), float(step["trait_score"]["value"]))
        for step in result["frontier"]
        if step["strength"] < result["strength"] and step["trait_score"] is not None
    )
    ends = (0.0, result["baseline"]["value"]), (result["strength"], result["trait_score"]["value"])
    return Matched(
        result["arm"],
        result["method"],
        result["layer"],
        result["strength"],
        result["coefficient"],
        (ends[0], *below, ends[1]),
    )


def stronger(arms: Mapping[str, Matched]) -> str | None:
    """The one of two arms that scores higher at its chosen setting; None if they score alike."""
    one, other = arms
    difference = arms[one].reached - arms[other].reached
    return None if difference == 0 else one if difference > 0 else other


def equal(arms: Mapping[str, Matched]) -> dict[str, Matched]:
    """The arms as chosen, but the stronger one weakened to the trait score of the other."""
    name = stronger(arms)
    if name is None:
        return dict(arms)
    return {**arms, name: arms[name].at(min(arm.reached for arm in arms.values()))}


def corrected(
    arms: Mapping[str, Matched], now: Mapping[str, Matched], scores: Mapping[str, float]
) -> dict[str, Matched] | None:
    """One more step: the weakened arm again, its frontier moved by what it missed.

    Args:
        arms: the chosen settings.
        now: the settings that `equal` made of them.
        scores: the mean trait scores that they reached.

    Returns:
        New settings; None where no other strength is left to try.
    """
    name = stronger(arms)
    if name is None:
        return None
    [(_, wanted)] = [item for item in scores.items() if item[0] != name]
    expected = min(arm.reached for arm in arms.values())
    again = arms[name].at(expected + wanted - scores[name])
    return None if again.strength in (0.0, now[name].strength) else {**now, name: again}


def strength_reaching(steps: Sequence[tuple[float, float]], score: float) -> float | None:
    """Least strength at which the line through (strength, score) steps reaches a score.

    None where it stays below. Steps are in the order of their strengths.
    """
    if steps and steps[0][1] >= score:
        return steps[0][0]
    for (left, low), (right, high) in pairwise(steps):
        if high >= score:
            return left + (right - left) * (score - low) / (high - low)
    return None


def equality(difference: Interval, within: float) -> str:
    """Say what is known of two arms' trait scores: "shown" equal, "near" or "not reached".

    Shown: the whole interval of their difference lies within so many points; near: its value does.
    """
    if abs(difference.value) > within:
        return "not reached"
    lower, upper = difference.lower, difference.upper
    if lower is None or upper is None or max(-lower, upper) > within:
        return "near"
    return "shown"
