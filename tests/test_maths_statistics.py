"""Intervals: equal to the library or the formula, and they cover what they say they cover."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from traitsteer.maths.statistics import (
    cosine,
    mean_interval,
    paired_difference_interval,
    random_directions,
    ratio_interval,
)
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Interval

NAN = math.nan


def sample(n: int, mean: float, spread: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, spread, size=(n, 3))


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_mean_interval_equals_scipy(confidence: float) -> None:
    values = sample(20, 40.0, 12.0, 0)
    found = mean_interval(values, confidence)
    expected = stats.ttest_1samp(values.mean(axis=1), 0.0).confidence_interval(confidence)
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high))
    assert found.value == pytest.approx(values.mean())
    assert found.n == 20


def test_paired_difference_equals_scipy() -> None:
    a, b = sample(20, 40.0, 12.0, 0), sample(20, 10.0, 3.0, 1)
    found = paired_difference_interval(a, b)
    expected = stats.ttest_rel(a.mean(axis=1), b.mean(axis=1)).confidence_interval(0.95)
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high))
    assert found.value == pytest.approx(a.mean() - b.mean())


def test_ratio_limits_are_where_the_paired_t_test_just_rejects() -> None:
    x, y = sample(20, 40.0, 12.0, 0), sample(20, 60.0, 20.0, 1)
    x += 0.5 * (y - 60.0)
    found = ratio_interval(x, y)
    assert found.value == pytest.approx(100 * x.mean() / y.mean())

    def excess(ratio: float) -> float:
        return float(stats.ttest_rel(x.mean(axis=1), ratio * y.mean(axis=1)).pvalue) - 0.05

    middle = found.value / 100
    assert found.lower == pytest.approx(100 * optimize.brentq(excess, middle - 2, middle))
    assert found.upper == pytest.approx(100 * optimize.brentq(excess, middle, middle + 2))


def test_mappings_pair_by_key_and_leave_out_what_is_missing() -> None:
    a = {"q1": [50.0, None], "q2": [30.0, 40.0], "q3": [None, NAN], "q4": [7.0]}
    b = {"q3": [1.0], "q2": [5.0], "q1": [10.0, 20.0, NAN]}
    assert mean_interval(a).value == pytest.approx((50 + 35 + 7) / 3)
    assert mean_interval(a).n == 3
    same = np.array([[50.0, NAN], [30.0, 40.0]]), np.array([[10.0, 20.0], [5.0, 5.0]])
    assert paired_difference_interval(a, b) == paired_difference_interval(*same)
    assert paired_difference_interval(a, b).value == pytest.approx((35 + 30) / 2)
    assert ratio_interval(a, b).n == 2


def test_a_missing_value_is_never_zero() -> None:
    whole = sample(6, 40.0, 1.0, 0)
    holed = whole.copy()
    holed[0, 0] = holed[3, :2] = NAN
    assert mean_interval(holed).value == pytest.approx(40.0, abs=1.5)
    assert mean_interval(holed).n == 6


def test_without_variance_the_interval_is_the_value() -> None:
    values = np.full((5, 2), 25.0)
    assert mean_interval(values) == Interval(25.0, 25.0, 25.0, 5)
    assert ratio_interval(values, 2 * values) == Interval(50.0, 50.0, 50.0, 5)


def test_one_cluster_has_no_bounds() -> None:
    one = {"q": [30.0, 50.0]}
    assert mean_interval(one) == Interval(40.0, None, None, 1)
    assert paired_difference_interval(one, {"q": [10.0]}) == Interval(30.0, None, None, 1)
    assert ratio_interval(one, {"q": [10.0]}) == Interval(400.0, None, None, 1)


def test_ratio_to_what_may_be_zero_is_unbounded() -> None:
    found = ratio_interval(sample(20, 40.0, 12.0, 0), sample(20, 0.5, 20.0, 1))
    assert (found.lower, found.upper) == (None, None)


def test_impossible_input_is_one_sentence() -> None:
    empty = np.full((3, 2), NAN)
    some = np.ones((3, 2))
    for call in (
        lambda: mean_interval(empty),
        lambda: paired_difference_interval(empty, some),
        lambda: ratio_interval(some, empty),
        lambda: ratio_interval(some, 0 * some),
        lambda: ratio_interval(some, np.ones((4, 2))),
        lambda: paired_difference_interval({"a": [1.0]}, some),
        lambda: paired_difference_interval({"a": [1.0]}, {"b": [1.0]}),
        lambda: mean_interval(some, confidence=95.0),
        lambda: cosine(torch.zeros(2), torch.ones(2)),
    ):
        with pytest.raises(TraitsteerError):
            call()


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    draws, n = 2000, 20
    random = np.random.default_rng(0)
    covered = {"mean": 0, "difference": 0, "ratio": 0, "null": 0}
    for _ in range(draws):
        question = random.normal(0, 10, size=(n, 1))
        x = 50 + question + random.normal(0, 8, size=(n, 2))
        y = 60 + question + random.normal(0, 8, size=(n, 2))
        for name, found, truth in (
            ("mean", mean_interval(x), 50.0),
            ("difference", paired_difference_interval(x, y), -10.0),
            ("ratio", ratio_interval(x, y), 100 * 50 / 60),
            ("null", paired_difference_interval(x + 10, y), 0.0),
        ):
            covered[name] += found.lower <= truth <= found.upper
    for name, count in covered.items():
        assert 0.93 <= count / draws <= 0.97, name


def test_a_true_difference_is_told_from_none() -> None:
    x, y = sample(20, 60.0, 8.0, 0), sample(20, 20.0, 8.0, 1)
    assert paired_difference_interval(x, y).lower > 25.0
    null = paired_difference_interval(sample(20, 60.0, 8.0, 2), x)
    assert null.lower < 0.0 < null.upper


def test_random_directions_belong_to_their_item() -> None:
    few, many = random_directions(3, 64, seed=2**62), random_directions(50, 64, seed=2**62)
    assert torch.equal(few, many[:3])
    assert not torch.equal(few, random_directions(3, 64, seed=1))
    assert many.dtype == torch.float32
    torch.testing.assert_close(many.norm(dim=1), torch.ones(50))
    between = many @ many.T - torch.eye(50)
    assert between.abs().max() < 0.6
    assert abs(float(between.mean())) < 0.01


def test_cosine_equals_the_formula() -> None:
    a, b = random_directions(2, 8, seed=0) * 3, random_directions(2, 8, seed=1) * 5
    expected = [float(x @ y) / 15 for x, y in zip(a, b, strict=True)]
    assert cosine(a, b).tolist() == pytest.approx(expected, rel=1e-5)
    assert cosine(a[0], -a[0]).item() == pytest.approx(-1.0)
