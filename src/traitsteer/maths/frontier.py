"""The frontier: delta against coherence as strength rises, read off at equal coherence.

Two vectors steered at their own best settings differ in coherence as well as in delta. Along a
frontier of strengths at one layer both are interpolated at the same coherence instead.

Steps of the frontier: the unsteered baseline (strength 0, delta 0), then each strength, rising.
Which crossing: coherence need not fall steadily, so a frontier may pass the target more than once.
The last step whose mean coherence is at least the target is taken, and the line from it to the next
step: the last crossing before the collapse. A frontier whose baseline and steps all lie below the
target, or whose last step is still at it, does not cross, and then there is no delta to report. Nor
is there one where no question has scores at every step.

Interval: questions are the clusters. They are resampled with all their scores, at every strength
and the baseline alike, and each resample is read off anew. On each side the farther of two limits
is taken, as for means: the percentile, and the one that is corrected for bias and skewness (BCa).
Both are expanded, by as much as Student's t is wider than the normal distribution, since a
bootstrap of few clusters is too narrow. A resample that does not cross counts as lying beyond both
limits, so that where many do not cross the interval is unbounded.

Sources: Efron 1987, "Better bootstrap confidence intervals" (BCa); Hesterberg 2015, "What teachers
should know about the bootstrap", section 5.3 (expanded percentile interval).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from traitsteer.maths.limits import student_quantile, too_few_alike
from traitsteer.maths.statistics import ByCluster
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Interval


@dataclass(frozen=True)
class FrontierStep:
    """The scores of one strength by question and sample; the baseline has strength 0."""

    strength: float
    trait_score: ByCluster
    coherence: ByCluster


@dataclass(frozen=True)
class AtCoherence:
    """A frontier read off at one coherence."""

    delta: Interval
    strength: float
    coherence: float
    """What it was read off at."""


def delta_at_coherence(
    steps: Sequence[FrontierStep],
    baseline: FrontierStep,
    target: float | Callable[[float], float],
    seed: int,
    confidence: float = 0.95,
    resamples: int = 4000,
) -> AtCoherence | None:
    """Delta where mean coherence equals the target; None where the frontier does not cross it, or
    no question has scores at every strength and the baseline.

    Args:
        steps: one for each strength, in any order.
        baseline: the unsteered answers to the same questions.
        target: a coherence, or a function from the baseline's mean coherence to one
            (`lambda unsteered: unsteered - 5`); it is called anew for each resample.
        seed: of the resampling of questions.

    Raises:
        TraitsteerError: a strength is not above 0, or two are the same.
    """
    ordered = [baseline, *sorted(steps, key=lambda step: step.strength)]
    strengths = np.array([0.0, *(step.strength for step in ordered[1:])])
    if (np.diff(strengths) <= 0).any():
        raise TraitsteerError(
            f"frontier: found strengths {strengths[1:].tolist()}; expected numbers above 0, each "
            "of them once"
        )
    trait, coherence = (_table(ordered, name) for name in ("trait_score", "coherence"))
    whole = ~np.isnan(trait + coherence).any(axis=1)
    trait, coherence = trait[whole], coherence[whole]
    n = len(trait)
    if n == 0:
        return None
    rise = trait - trait[:, :1]
    at, strength, goal = _crossing(rise.mean(0)[None], coherence.mean(0)[None], strengths, target)
    if np.isnan(at[0]):
        return None
    value = float(at[0])
    found = Interval(value, None, None, n)
    if n > 1:
        drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples) / n
        others = (1 - np.eye(n)) / (n - 1)
        resampled, left_out = (
            _crossing(weights @ rise, weights @ coherence, strengths, target)[0]
            for weights in (drawn, others)
        )
        found = Interval(value, *_limits(value, resampled, left_out, confidence), n)
    return AtCoherence(found, float(strength[0]), float(goal[0]))


def _table(steps: Sequence[FrontierStep], name: str) -> NDArray[np.float64]:
    """Question means `[questions, steps]`, NaN where a question has no value at a step."""
    columns = [getattr(step, name) for step in steps]
    questions = list(columns[0])
    return np.array(
        [[_mean(column.get(question, ())) for column in columns] for question in questions]
    ).reshape(len(questions), len(columns))


def _mean(samples: Sequence[float | None]) -> float:
    present = [value for value in samples if value is not None]
    return sum(present) / len(present) if present else math.nan


def _crossing(
    delta: NDArray[np.float64],
    coherence: NDArray[np.float64],
    strengths: NDArray[np.float64],
    target: float | Callable[[float], float],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Delta, strength and target of each row `[rows, steps]`; NaN where it does not cross."""
    unsteered = coherence[:, 0]
    goal = np.array([target(float(one)) for one in unsteered] if callable(target) else [target])
    goal = np.broadcast_to(goal, unsteered.shape)
    able = coherence >= goal[:, None]
    last = coherence.shape[1] - 1 - np.argmax(able[:, ::-1], axis=1)
    crosses = able.any(axis=1) & (last < coherence.shape[1] - 1)
    rows = np.arange(len(coherence))
    here = np.where(crosses, last, 0)
    there = here + 1
    fall = coherence[rows, here] - coherence[rows, there]
    share = (coherence[rows, here] - goal) / np.where(crosses, fall, 1.0)

    def between(values: NDArray[np.float64]) -> NDArray[np.float64]:
        start, end = values[rows, here], values[rows, there]
        return np.where(crosses, start + share * (end - start), math.nan)

    return between(delta), between(np.broadcast_to(strengths, delta.shape)), goal


def _limits(
    value: float,
    resampled: NDArray[np.float64],
    left_out: NDArray[np.float64],
    confidence: float,
) -> tuple[float | None, float | None]:
    """The farther of both limits on each side; None where too many resamples do not cross, or
    too few questions are all alike.

    `left_out` is what is read off without each of the questions in turn.
    """
    n = len(left_out)
    student = student_quantile(confidence, n - 1) * math.sqrt(n / (n - 1))
    missing = np.isnan(resampled)
    if missing.all() or np.isnan(left_out).any() or too_few_alike(left_out, confidence):
        return None, None
    present = resampled[~missing]
    middle = float((present < value).mean() + (present == value).mean() / 2)
    edge = 1 / (len(present) + 1)
    bias = float(special.ndtri(min(max(middle, edge), 1 - edge)))
    apart = left_out.mean() - left_out
    squares = float((apart**2).sum())
    skewness = float((apart**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
    corrected = [bias + at / (1 - skewness * at) for at in (bias - student, bias + student)]
    low, high = min(-student, corrected[0]), max(student, corrected[1])
    lower = np.quantile(np.where(missing, -math.inf, resampled), special.ndtr(low), method="lower")
    upper = np.quantile(np.where(missing, math.inf, resampled), special.ndtr(high), method="higher")
    return (
        float(lower) if math.isfinite(lower) else None,
        float(upper) if math.isfinite(upper) else None,
    )
