"""Confidence limits of a mean of independent values: Student's t, and Hall's where it is skewed."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from traitsteer.words.errors import TraitsteerError

ROUNDING = 1e-9
"""Points of a score that are rounding alone: a mean or a spread no larger than this is none."""


def mean_limits(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Confidence limits of the mean of two independent values or more, none of them missing.

    On each side the farther of two. Student's t is right where values are symmetric, whatever their
    tails. Near an end of the scale they are not: most questions score 100 and a few far less, and
    t is too sure on the side of the long tail. There Hall's cubic takes the skewness out of the
    t statistic; but it trusts the skewness of the sample, which heavy tails alone can bring about.

    Source: Hall 1992, "On the removal of skewness by transformation", equation for g and its
    inverse; with c = skewness / sqrt(n),  g(t) = t + c t^2 / 3 + c^2 t^3 / 27 + c / 6.
    """
    mean, n = float(values.mean()), len(values)
    spread = float(values.std())
    error = float(values.std(ddof=1)) / math.sqrt(n)
    if error == 0.0:
        return mean, mean
    c = third_moment(values) / spread**3 / math.sqrt(n)
    return farther(mean, error, c, student_quantile(confidence, n - 1))


def too_few_alike(values: NDArray[np.float64], confidence: float) -> bool:
    """Whether all values are the same, and so few that they are no evidence of it.

    n values to one side of a number have a sign-flip p-value of 2 / 2^n, however far from it they
    lie: at 95 % it takes six to tell their mean from it.
    """
    return bool(np.ptp(values) <= ROUNDING) and 2.0 ** (1 - len(values)) > 1 - confidence


def end_limit(n: int, confidence: float) -> float:
    """Least share that so many values without a miss leave possible: Clopper and Pearson's limit.

    Of all values from 0 to 1 whose sample is 1 throughout, those that are 0 or 1 leave most open.
    """
    return float(((1.0 - confidence) / 2.0) ** (1.0 / n))


def student_limits(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Student's t limits of the mean of two values or more, none of them missing."""
    mean, n = float(values.mean()), len(values)
    half = student_quantile(confidence, n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    return mean - half, mean + half


def third_moment(values: NDArray[np.float64]) -> float:
    """Third central moment, with n below: what skewness is made of."""
    return float(((values - values.mean()) ** 3).mean())


def farther(value: float, error: float, c: float, student: float) -> tuple[float, float]:
    """On each side the farther of Student's and Hall's limits; `c` is the skewness of `value`."""
    low, high = value - error * student, value + error * student
    if abs(c) < 1e-6:
        return low, high

    of_hall = [3 / c * (math.cbrt(1 + c * (t - c / 6)) - 1) for t in (student, -student)]
    return min(low, value - error * of_hall[0]), max(high, value - error * of_hall[1])


def student_quantile(confidence: float, free: float) -> float:
    """Quantile of Student's t with so many degrees of freedom.

    Raises TraitsteerError when the confidence is not between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise TraitsteerError(f"confidence is {confidence}; expected a number between 0 and 1")
    return float(special.stdtrit(free, (1.0 + confidence) / 2.0))
