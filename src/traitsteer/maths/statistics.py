"""Intervals of means, differences and ratios over clusters, and the geometry of null directions.

A cluster is a question; its samples are averaged first, since answers to one question are alike.
Values come as a mapping from cluster to samples, or as an array `[clusters, samples]`. A missing
value (None or NaN) is left out, never zero, and a cluster that has no value at all does not count:
`Interval.n` is the number of clusters used.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Interval
from traitsteer.words.shapes import Float

Clusters = Mapping[str, Sequence[float | None]] | NDArray[np.float64]


def mean_interval(values: Clusters, confidence: float = 0.95) -> Interval:
    """Mean over clusters with Student's t interval of the cluster means.

    Without variance the interval is the value itself; with fewer than two clusters it is unbounded
    (lower and upper None). Raises TraitsteerError when every value is missing.
    """
    means = _cluster_means(values)
    return _t_interval(means[~np.isnan(means)], confidence, "mean")


def paired_difference_interval(a: Clusters, b: Clusters, confidence: float = 0.95) -> Interval:
    """Mean of `a - b` over the clusters that both have, with Student's t interval."""
    first, second = _paired_means(a, b)
    return _t_interval(first - second, confidence, "paired difference")


def ratio_interval(
    numerator: Clusters, denominator: Clusters, confidence: float = 0.95
) -> Interval:
    """`100 * mean(numerator) / mean(denominator)` over shared clusters, by Fieller's theorem.

    The limits are the ratios r at which the paired t test of `numerator - r * denominator` just
    rejects. Where the denominator is not distinguishable from zero they do not bound the ratio:
    lower and upper are None. Raises TraitsteerError when the denominator's mean is exactly zero.

    Source: Fieller 1954, "Some problems in interval estimation".
    """
    x, y = _paired_means(numerator, denominator)
    n = len(x)
    if n == 0:
        raise TraitsteerError("ratio: no cluster has a value on both sides; expected at least one")
    mean_x, mean_y = float(x.mean()), float(y.mean())
    if mean_y == 0.0:
        raise TraitsteerError("ratio: the denominator's mean is 0, so no ratio exists; report both")
    value = 100.0 * mean_x / mean_y
    if n < 2:
        return Interval(value, None, None, n)
    square = _student(confidence, n) ** 2 / n
    (xx, xy), (_, yy) = square * np.cov(x, y)
    # The limits solve  a r^2 - 2 b r + c = 0.
    a, b, c = mean_y**2 - float(yy), mean_x * mean_y - float(xy), mean_x**2 - float(xx)
    if a <= 0.0:
        return Interval(value, None, None, n)
    half = math.sqrt(max(b * b - a * c, 0.0))  # below 0 by rounding alone
    return Interval(value, 100.0 * (b - half) / a, 100.0 * (b + half) / a, n)


def random_directions(count: int, d: int, seed: int) -> Float[Tensor, "{count} {d}"]:
    """Unit vectors drawn evenly from the sphere, float32.

    Row i depends on the seed and i alone, so asking for more leaves the earlier ones as they were.
    """
    draws = [np.random.default_rng([seed, item]).standard_normal(d) for item in range(count)]
    vectors = torch.from_numpy(np.stack(draws) if draws else np.zeros((0, d)))
    return torch.nn.functional.normalize(vectors, dim=1).float()


def cosine(a: Float[Tensor, "*batch d"], b: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
    """Cosine along the last axis, in float64; raises TraitsteerError for a vector of norm 0."""
    first, second = a.double(), b.double()
    norms = first.norm(dim=-1) * second.norm(dim=-1)
    if bool((norms == 0).any()):
        raise TraitsteerError("cosine: found a vector of norm 0; expected a direction on each side")
    inner: Tensor = (first * second).sum(dim=-1)
    return inner.div(norms)


def _cluster_means(values: Clusters) -> NDArray[np.float64]:
    """Mean of each cluster's present values, NaN where it has none."""
    rows = values if isinstance(values, np.ndarray) else values.values()
    means = []
    for samples in rows:
        row = np.array([math.nan if v is None else v for v in samples], dtype=np.float64)
        present = row[~np.isnan(row)]
        means.append(float(present.mean()) if len(present) else math.nan)
    return np.array(means, dtype=np.float64)


def _paired_means(a: Clusters, b: Clusters) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cluster means of both sides where both have one; mappings pair by key, arrays by row."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)) or len(a) != len(b):
            raise TraitsteerError(
                "paired clusters: found two sides of different kind or length; "
                "expected two mappings, or two arrays with one row for each cluster"
            )
        first, second = _cluster_means(a), _cluster_means(b)
    else:
        keys = [key for key in a if key in b]
        first = _cluster_means({key: a[key] for key in keys})
        second = _cluster_means({key: b[key] for key in keys})
    present = ~(np.isnan(first) | np.isnan(second))
    return first[present], second[present]


def _t_interval(means: NDArray[np.float64], confidence: float, what: str) -> Interval:
    n = len(means)
    if n == 0:
        raise TraitsteerError(
            f"{what}: every value is missing; expected at least one cluster with a value"
        )
    value = float(means.mean())
    if n < 2:
        return Interval(value, None, None, n)
    half = _student(confidence, n) * float(means.std(ddof=1)) / math.sqrt(n)
    return Interval(value, value - half, value + half, n)


def _student(confidence: float, n: int) -> float:
    if not 0.0 < confidence < 1.0:
        raise TraitsteerError(f"confidence is {confidence}; expected a number between 0 and 1")
    return float(stats.t.ppf((1.0 + confidence) / 2.0, n - 1))
