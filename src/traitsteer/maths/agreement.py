"""How far a judge is right, agrees with itself, and agrees with another: arrays in, intervals out.

Items are independent here, so intervals are over items: Wilson's for shares, percentiles of the
bootstrap over items for measures of two judges.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from traitsteer.words.records import Interval
from traitsteer.words.shapes import Float

Floats = NDArray[np.float64]

BIN = 10.0
"""Width in points of the classes between which quadratic weighted kappa counts agreement."""
_EDGES = np.arange(BIN, 100.0, BIN)


def wilson_interval(hits: int, n: int, confidence: float = 0.95) -> Interval:
    """Share `hits / n` with Wilson's score interval; `n` is at least 1.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    limits = stats.binomtest(hits, n).proportion_ci(confidence, method="wilson")
    return Interval(hits / n, float(limits.low), float(limits.high), n)


def spread(scores: Float[np.ndarray, "items times"]) -> Float[np.ndarray, "items"]:
    """Standard deviation of each item's scores (points, n - 1); a missing score is NaN.

    NaN for an item with fewer than two scores.
    """
    counts = (~np.isnan(scores)).sum(axis=1)
    found = np.full(len(scores), np.nan)
    held = counts >= 2
    found[held] = np.nanstd(scores[held], axis=1, ddof=1)
    return found


def pearson(a: Floats, b: Floats) -> float | None:
    """Pearson's correlation; None where a side has no variance."""
    return None if np.ptp(a) == 0 or np.ptp(b) == 0 else float(stats.pearsonr(a, b).statistic)


def spearman(a: Floats, b: Floats) -> float | None:
    """Spearman's rank correlation; None where a side has no variance."""
    return pearson(stats.rankdata(a), stats.rankdata(b))


def mean_absolute_difference(a: Floats, b: Floats) -> float | None:
    """Mean of `|a - b|` in points."""
    return float(np.abs(a - b).mean())


def weighted_kappa(a: Floats, b: Floats) -> float | None:
    """Cohen's kappa with quadratic weights between ten classes of ten points; the last holds 100.

    None where both sides keep to one class, the same one.

    Source: Cohen 1968, "Weighted kappa".
    """
    first, second = np.digitize(a, _EDGES), np.digitize(b, _EDGES)
    if len(np.union1d(first, second)) == 1:
        return None
    classes = list(range(len(_EDGES) + 1))
    return float(cohen_kappa_score(first, second, weights="quadratic", labels=classes))


MEASURES: dict[str, Callable[[Floats, Floats], float | None]] = {
    "pearson": pearson,
    "spearman": spearman,
    "mean_absolute_difference": mean_absolute_difference,
    "weighted_kappa": weighted_kappa,
}


def agreement(
    a: Float[np.ndarray, "items"],
    b: Float[np.ndarray, "items"],
    *,
    seed: int,
    confidence: float = 0.95,
    resamples: int = 999,
) -> dict[str, Interval | None]:
    """Every measure of two judges' scores of the same items, over those that both scored.

    The interval is that of the bootstrap over items; draws in which a measure does not exist are
    left out of it. None where fewer than three items have both scores, or a measure does not exist.
    """
    both = ~(np.isnan(a) | np.isnan(b))
    first, second, n = a[both], b[both], int(both.sum())
    if n < 3:
        return dict.fromkeys(MEASURES)
    draws = np.random.default_rng(seed).integers(n, size=(resamples, n))
    return {
        name: _bootstrapped(measure, first, second, draws, confidence)
        for name, measure in MEASURES.items()
    }


def _bootstrapped(
    measure: Callable[[Floats, Floats], float | None],
    a: Floats,
    b: Floats,
    draws: NDArray[np.int64],
    confidence: float,
) -> Interval | None:
    value = measure(a, b)
    if value is None:
        return None
    found = [each for draw in draws if (each := measure(a[draw], b[draw])) is not None]
    tail = 50.0 * (1.0 - confidence)
    lower, upper = np.percentile(found, [tail, 100.0 - tail]) if found else (None, None)
    if lower is None or upper is None:
        return Interval(value, None, None, len(a))
    return Interval(value, float(lower), float(upper), len(a))
