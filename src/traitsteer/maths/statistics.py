"""Intervals of means, differences and ratios over clusters, and the geometry of null directions.

A cluster is a question; its samples are averaged first, since answers to one question are alike.
Values come as a mapping from cluster to samples, or as an array `[clusters, samples]`. A missing
value (None or NaN) is left out, never zero, and a cluster that has no value at all does not count:
`Interval.n` is the number of clusters used.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from traitsteer.maths.limits import (
    end_limit,
    farther,
    mean_limits,
    student_limits,
    student_quantile,
    third_moment,
    too_few_alike,
)
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Interval
from traitsteer.words.shapes import Float

ByCluster = Mapping[str, Sequence[float | None]]
"""Cluster to the values of its samples; None is missing."""
Clusters = ByCluster | NDArray[np.float64]


def mean_interval(values: Clusters, confidence: float = 0.95) -> Interval:
    """Mean over clusters with the limits of `mean_limits`.

    Without variance the interval is the value itself, or where that is no evidence
    (`too_few_alike`) unbounded (lower and upper None), as it is with fewer than two clusters.
    Raises TraitsteerError when every value is missing.
    """
    return _interval(cluster_means(values), _bounded, confidence, "mean")


def score_interval(values: Clusters, confidence: float = 0.95) -> Interval:
    """`mean_interval` of scores from 0 to 100, with its limits cut to that scale.

    Where every score lies at one end, the other limit is that of a share (`end_limit`).
    """
    return _cut(mean_interval(values, confidence), 0.0, confidence)


def delta_interval(values: Clusters, confidence: float = 0.95) -> Interval:
    """`score_interval` of differences of such scores, whose scale is -100 to 100."""
    return _cut(mean_interval(values, confidence), -100.0, confidence)


def student_interval(values: Clusters, confidence: float = 0.95) -> Interval:
    """Mean over clusters with Student's t limits alone.

    For a handful of clusters, whose skewness cannot be told, and where nothing is reported.
    """
    return _interval(cluster_means(values), student_limits, confidence, "mean")


def paired_differences(a: Clusters, b: Clusters) -> Float[np.ndarray, " clusters"]:
    """`a - b` of the cluster means, for every cluster that both have; float64."""
    first, second = paired_means(a, b)
    return first - second


def paired_difference_interval(a: Clusters, b: Clusters, confidence: float = 0.95) -> Interval:
    """`mean_interval` of `a - b` over the clusters that both have."""
    return _interval(paired_differences(a, b), _bounded, confidence, "paired difference")


def paired_delta_interval(a: Clusters, b: Clusters, confidence: float = 0.95) -> Interval:
    """`paired_difference_interval` of scores from 0 to 100, with the limits of a delta."""
    return _cut(paired_difference_interval(a, b, confidence), -100.0, confidence)


def independent_difference_interval(a: Clusters, b: Clusters, confidence: float = 0.95) -> Interval:
    """`mean(a) - mean(b)` where no cluster is shared: Welch's t, or Hall's as in `mean_limits`.

    For two disjoint question sets, such as a winner's delta on the selection questions and on the
    report questions. `n` counts the clusters of both sides; with fewer than two on either side the
    interval is unbounded, as it is without variance where one side is `too_few_alike`. Raises
    TraitsteerError when every value of a side is missing.

    Source: Welch 1947, "The generalization of 'Student's' problem".
    """
    sides = [means[~np.isnan(means)] for means in map(cluster_means, (a, b))]
    if not all(len(side) for side in sides):
        raise TraitsteerError(
            "independent difference: every value of one side is missing; expected at least one "
            "cluster with a value on each side"
        )
    n = sum(len(side) for side in sides)
    value = float(sides[0].mean() - sides[1].mean())
    if min(len(side) for side in sides) < 2:
        return Interval(value, None, None, n)
    squares = [float(side.var(ddof=1)) / len(side) for side in sides]
    error = math.sqrt(sum(squares))
    if error == 0.0:
        few = any(too_few_alike(side, confidence) for side in sides)
        return Interval(value, None, None, n) if few else Interval(value, value, value, n)
    parts = (square**2 / (len(side) - 1) for square, side in zip(squares, sides, strict=True))
    student = student_quantile(confidence, error**4 / sum(parts))
    first, second = (third_moment(side) / len(side) ** 2 for side in sides)
    return Interval(value, *farther(value, error, (first - second) / error**3, student), n)


def share_interval(values: Clusters, confidence: float = 0.95) -> Interval:
    """Percent of values that are 1, where every value is 0 or 1 (or missing): mean over clusters.

    The limits are Clopper and Pearson's at the effective number of values: as many independent
    ones as have the variance of the cluster shares, and no more than there are. They stay within 0
    and 100. Where every value is the same, each cluster counts as one value. With fewer than two
    clusters the interval is unbounded. Raises TraitsteerError when every value is missing or one
    is neither 0 nor 1.

    Source: Korn and Graubard 1998, "Confidence intervals for proportions with small expected number
    of positive counts estimated from survey data".
    """
    rows = values if isinstance(values, np.ndarray) else list(values.values())
    single = np.array([math.nan if v is None else v for row in rows for v in row], dtype=np.float64)
    single = single[~np.isnan(single)]
    if not np.isin(single, (0.0, 1.0)).all():
        raise TraitsteerError("share: found a value other than 0 and 1; expected yes or no alone")
    means = cluster_means(values)
    means = means[~np.isnan(means)]
    n, share = len(means), float(means.mean()) if len(means) else math.nan
    if n == 0:
        raise TraitsteerError(
            "share: every value is missing; expected at least one cluster with a value"
        )
    if n < 2:
        return Interval(100.0 * share, None, None, n)
    error = float(means.var(ddof=1)) / n
    count = float(n)
    if 0.0 < share < 1.0:
        count = float(len(single))
        if error > 0.0:
            alike = (
                student_quantile(confidence, count - 1) / student_quantile(confidence, n - 1)
            ) ** 2
            count = min(count, share * (1 - share) / error * alike)
    hits, tail = share * count, (1 - confidence) / 2
    lower = float(special.betaincinv(hits, count - hits + 1, tail)) if hits > 0 else 0.0
    upper = float(special.betainccinv(hits + 1, count - hits, tail)) if hits < count else 1.0
    return Interval(100.0 * share, 100.0 * lower, 100.0 * upper, n)


def ratio_interval(
    numerator: Clusters, denominator: Clusters, confidence: float = 0.95
) -> Interval:
    """`100 * mean(numerator) / mean(denominator)` over shared clusters, by Fieller's argument.

    The limits are the ratios r, to either side of the estimate, from which on the `mean_limits` of
    `numerator - r * denominator` exclude 0. Where the denominator is not distinguishable from zero
    they do not bound the ratio: lower and upper are None. Raises TraitsteerError when the
    denominator's mean is exactly zero.

    Source: Fieller 1954, "Some problems in interval estimation".
    """
    x, y = paired_means(numerator, denominator)
    n = len(x)
    if n == 0:
        raise TraitsteerError("ratio: no cluster has a value on both sides; expected at least one")
    mean_x, mean_y = float(x.mean()), float(y.mean())
    if mean_y == 0.0:
        raise TraitsteerError("ratio: the denominator's mean is 0, so no ratio exists; report both")
    value = 100.0 * mean_x / mean_y
    if n < 2:
        return Interval(value, None, None, n)
    low, high = _bounded(y, confidence)
    if low is None or high is None or low <= 0.0 <= high:
        return Interval(value, None, None, n)

    ratio = mean_x / mean_y

    rest = x - ratio * y
    step = float(rest.std()) / math.sqrt(n) / abs(mean_y)
    reach = (_first_root(partial(_within, rest, s * y, confidence), step) for s in (-1, 1))
    lower, upper = (100.0 * away for away in reach)
    return Interval(value, value - lower, value + upper, n)


def cluster_means(values: Clusters) -> NDArray[np.float64]:
    """Mean of each cluster's present values, NaN where it has none."""
    if isinstance(values, np.ndarray):
        counts = (~np.isnan(values)).sum(axis=1)
        return np.where(counts > 0, np.nansum(values, axis=1) / np.maximum(counts, 1), math.nan)
    means = []
    for samples in values.values():
        row = np.array([math.nan if v is None else v for v in samples], dtype=np.float64)
        present = row[~np.isnan(row)]
        means.append(float(present.mean()) if len(present) else math.nan)
    return np.array(means, dtype=np.float64)


def paired_means(a: Clusters, b: Clusters) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of the clusters for which both sides have one; mappings pair by key, arrays by row."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)) or len(a) != len(b):
            raise TraitsteerError(
                "paired clusters: found two sides of different kind or length; "
                "expected two mappings, or two arrays with one row for each cluster"
            )
        first, second = cluster_means(a), cluster_means(b)
    else:
        keys = [key for key in a if key in b]
        first = cluster_means({key: a[key] for key in keys})
        second = cluster_means({key: b[key] for key in keys})
    present = ~(np.isnan(first) | np.isnan(second))
    return first[present], second[present]


def _cut(found: Interval, least: float, confidence: float) -> Interval:
    """Limits on a scale from `least` to 100; at one of its ends as wide as a share's."""
    if found.n > 1 and found.value in (least, 100.0):
        beyond = (100.0 - least) * (1.0 - end_limit(found.n, confidence))
        at_top = found.value == 100.0
        ends = (100.0 - beyond, 100.0) if at_top else (least, least + beyond)
        return Interval(found.value, *ends, found.n)
    limits = (found.lower, found.upper)
    lower, upper = (None if limit is None else min(max(limit, least), 100.0) for limit in limits)
    return Interval(found.value, lower, upper, found.n)


def _bounded(
    values: NDArray[np.float64], confidence: float
) -> tuple[float, float] | tuple[None, None]:
    """`mean_limits`, or none where all values are the same and too few."""
    return (None, None) if too_few_alike(values, confidence) else mean_limits(values, confidence)


def _within(
    rest: NDArray[np.float64], change: NDArray[np.float64], confidence: float, away: float
) -> float:
    """How far 0 lies within the limits of `rest - away * change`; below 0 when it lies outside."""
    low, high = mean_limits(rest - away * change, confidence)
    return high if change.mean() > 0 else -low


def _first_root(function: Callable[[float], float], step: float) -> float:
    """Where a function that is above 0 at 0 and below it far out first falls to 0.

    At 0 it is not above 0 where two sides are proportional but for rounding: then that is where.
    """
    if step == 0.0 or function(0.0) <= 0.0:
        return 0.0
    near, far = 0.0, step
    while function(far) > 0.0:
        near, far = far, 2.0 * far
    return float(optimize.brentq(function, near, far))


def _interval(
    values: NDArray[np.float64],
    limits: Callable[[NDArray[np.float64], float], tuple[float | None, float | None]],
    confidence: float,
    what: str,
) -> Interval:
    means = values[~np.isnan(values)]
    n = len(means)
    if n == 0:
        raise TraitsteerError(
            f"{what}: every value is missing; expected at least one cluster with a value"
        )
    value = float(means.mean())
    if n < 2:
        return Interval(value, None, None, n)
    return Interval(value, *limits(means, confidence), n)
