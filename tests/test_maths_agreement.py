"""Agreement against formulas written out, planted answers, and controls without agreement."""

import math

import numpy as np
import pytest

from traitsteer.maths.agreement import (
    agreement,
    mean_absolute_difference,
    spearman,
    spread,
    weighted_kappa,
    wilson_interval,
)


@pytest.mark.parametrize(("hits", "n"), [(0, 9), (7, 9), (9, 9), (113, 173)])
def test_wilson_interval_is_the_written_formula(hits: int, n: int) -> None:
    z, share = 1.959963984540054, hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    found = wilson_interval(hits, n)
    assert (found.value, found.n) == (share, n)
    assert found.lower == pytest.approx(max(middle - half, 0), abs=1e-9)
    assert found.upper == pytest.approx(min(middle + half, 1), abs=1e-9)


def test_spread_is_each_items_deviation_without_missing_scores() -> None:
    scores = np.array([[10, 20, 30], [5, np.nan, 9], [1, np.nan, np.nan], [7, 7, 7]], dtype=float)
    found = spread(scores)
    assert found[:2] == pytest.approx([10, math.sqrt(8)])
    assert np.isnan(found[2])
    assert found[3] == 0


def kappa_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    """1 - observed / expected squared distance of the classes."""
    first, second = np.minimum(a // 10, 9), np.minimum(b // 10, 9)
    observed = np.mean((first - second) ** 2)
    expected = np.mean((first[:, None] - second[None, :]) ** 2)
    return float(1 - observed / expected)


def test_kappa_is_the_written_formula_and_100_lies_in_the_last_class() -> None:
    rng = np.random.default_rng(0)
    a = rng.uniform(0, 100, 80).round()
    b = np.clip(a + rng.normal(0, 15, 80), 0, 100).round()
    a[:3] = (100, 90, 0)
    assert weighted_kappa(a, b) == pytest.approx(kappa_by_hand(a, b))
    assert weighted_kappa(np.array([95.0, 91.0]), np.array([100.0, 90.0])) is None


def test_two_judges_that_agree_are_told_from_two_that_do_not() -> None:
    rng = np.random.default_rng(1)
    a = rng.uniform(0, 100, 120)
    near, apart = np.clip(a + rng.normal(0, 5, 120), 0, 100), rng.uniform(0, 100, 120)
    close, control = (agreement(a, b, seed=0, resamples=199) for b in (near, apart))
    for name in ("pearson", "spearman", "weighted_kappa"):
        alike, nothing = close[name], control[name]
        assert alike is not None and nothing is not None
        assert alike.lower is not None and nothing.lower is not None and nothing.upper is not None
        assert alike.lower > 0.9
        assert nothing.lower < 0 < nothing.upper
    difference = close["mean_absolute_difference"]
    assert difference is not None and difference.lower is not None and difference.upper is not None
    assert difference.lower < mean_absolute_difference(a, near) < difference.upper < 6


def test_only_items_that_both_scored_count_and_few_of_them_say_nothing() -> None:
    a, b = np.array([1.0, 2.0, 3.0, np.nan, 5.0]), np.array([2.0, 4.0, np.nan, 1.0, 9.0])
    found = agreement(a, b, seed=0, resamples=50)["spearman"]
    assert found is not None
    assert (found.value, found.n) == (pytest.approx(1.0), 3)
    assert set(agreement(a[:3], b[:3], seed=0).values()) == {None}
    assert spearman(np.ones(5), np.arange(5.0)) is None
