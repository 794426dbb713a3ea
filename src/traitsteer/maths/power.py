"""How many questions and samples tell a difference apart from none.

Model: the difference of a question's sample is  mu + question + sample,  two independent deviations
with variances `between` (questions) and `within` (samples of a question). The mean over `questions`
of means over `samples` has variance (between + within / samples) / questions, so that more samples
help only as long as `within / samples` is not small beside `between`.

Test: Student's t over question means, two-sided; its power is exact by the noncentral t
distribution with questions - 1 degrees of freedom.

Source: Cohen 1988, "Statistical Power Analysis for the Behavioral Sciences", chapter 2; Searle,
Casella and McCulloch 1992, "Variance Components", section 3.7 (unweighted means).
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from traitsteer.maths.limits import student_quantile
from traitsteer.maths.statistics import ByCluster
from traitsteer.words.errors import TraitsteerError


@dataclass(frozen=True)
class Components:
    """Variances of a difference, in squared points, and what they were estimated from."""

    between: float
    within: float
    questions: int
    samples: float
    """Mean samples of a question."""


def variance_components(differences: ByCluster) -> Components:
    """Estimate both variances from differences by question and sample; missing ones are left out.

    `within` pools the variances of the questions' samples; `between` is what the variance of the
    question means exceeds the share that samples explain, and 0 where it does not.

    Raises:
        TraitsteerError: fewer than two questions have a value, or none has two.
    """
    present = [[v for v in values if v is not None] for values in differences.values()]
    present = [values for values in present if values]
    repeats = sum(len(values) - 1 for values in present)
    if len(present) < 2 or repeats == 0:
        raise TraitsteerError(
            f"variance components: found {len(present)} questions with {repeats} repeated samples "
            "between them; expected 2 questions or more and 2 samples or more of some question"
        )
    means = [np.mean(values) for values in present]
    counts = np.array([len(values) for values in present])
    within = float(sum(counts * [np.var(values) for values in present]) / repeats)
    between = max(float(np.var(means, ddof=1)) - within * float(np.mean(1 / counts)), 0.0)
    return Components(between, within, len(present), float(counts.mean()))


def standard_error(components: Components, questions: int, samples: int) -> float:
    """Standard error of the mean difference with so many questions and samples of each."""
    return math.sqrt((components.between + components.within / samples) / questions)


def power(
    difference: float, components: Components, questions: int, samples: int, confidence: float
) -> float:
    """Probability that the interval of this confidence excludes 0 when the truth is `difference`.

    Raises TraitsteerError for fewer than 2 questions or 1 sample.
    """
    if questions < 2 or samples < 1:
        raise TraitsteerError(
            f"power: {questions} questions of {samples} samples; expected 2 questions or more and "
            "1 sample or more"
        )
    error = standard_error(components, questions, samples)
    if error == 0.0:
        return float(difference != 0.0)
    return _power(difference / error, questions, confidence)


def detectable_difference(
    components: Components, questions: int, samples: int, confidence: float, wanted: float
) -> float:
    """Least difference that is told from 0 with probability `wanted`, in points."""
    error = standard_error(components, questions, samples)
    # Without any difference an interval excludes 0 now and then.
    if error == 0.0 or _power(0.0, questions, confidence) >= wanted:
        return 0.0
    most = 2.0
    while _power(most, questions, confidence) < wanted:
        most *= 2.0
    least = optimize.brentq(lambda d: _power(d, questions, confidence) - wanted, 0.0, most)
    return float(least) * error


def questions_needed(
    difference: float,
    components: Components,
    samples: int,
    confidence: float,
    wanted: float,
    at_most: int = 100_000,
) -> int | None:
    """Least number of questions that tells `difference` from 0; None if `at_most` do not."""

    def enough(questions: int) -> bool:
        return power(difference, components, questions, samples, confidence) >= wanted

    if not enough(at_most):
        return None
    low, high = 1, 2
    while not enough(high):
        low, high = high, min(2 * high, at_most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _power(distance: float, questions: int, confidence: float) -> float:
    """Power at a true difference of so many standard errors."""
    free = questions - 1
    limit = student_quantile(confidence, free)
    above = stats.nct.sf(limit, free, distance)
    below = stats.nct.cdf(-limit, free, distance)
    return float(above + below)
