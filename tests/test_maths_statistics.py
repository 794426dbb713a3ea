"""Intervals: equal to the library or the formula, and they cover what they say they cover."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from traitsteer.maths.direction import cosine, random_directions
from traitsteer.maths.permutation import sign_flip_p_value
from traitsteer.maths.statistics import (
    delta_interval,
    independent_difference_interval,
    mean_interval,
    paired_delta_interval,
    paired_difference_interval,
    ratio_interval,
    score_interval,
    share_interval,
    student_interval,
)
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Interval

NAN = math.nan


def sample(n: int, mean: float, spread: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, spread, size=(n, 3))


def hall(value: float, error: float, c: float, student: float) -> tuple[float, float]:
    """Limits where Hall's cubic of the t statistic is at Student's quantiles, by root finding."""

    def transformed(t: float) -> float:
        return t + c * t**2 / 3 + c**2 * t**3 / 27 + c / 6

    high, low = (
        optimize.brentq(lambda t, q=q: transformed(t) - q, -1e4, 1e4) for q in (-student, student)
    )
    return value - error * low, value - error * high


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_symmetric_means_have_the_interval_of_scipy(confidence: float) -> None:
    half = sample(10, 0.0, 12.0, 0)
    values = 40 + np.concatenate([half, -half])
    expected = stats.ttest_1samp(values.mean(axis=1), 0.0).confidence_interval(confidence)
    for found in (mean_interval(values, confidence), student_interval(values, confidence)):
        assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high))
        assert found.value == pytest.approx(40.0)
        assert found.n == 20


@pytest.mark.parametrize("sign", [1, -1])
def test_skewed_means_have_the_farther_limit_of_student_and_hall(sign: int) -> None:
    values = sign * np.random.default_rng(0).gamma(0.5, 20.0, size=(20, 1))
    means = values[:, 0]
    found = mean_interval(values)
    student = stats.ttest_1samp(means, 0.0).confidence_interval(0.95)
    error, quantile = means.std(ddof=1) / 20**0.5, stats.t.ppf(0.975, 19)
    low, high = hall(means.mean(), error, stats.skew(means) / 20**0.5, quantile)
    expected = (min(low, student.low), max(high, student.high))
    assert (found.lower, found.upper) == pytest.approx(expected)
    assert (low < student.low) == (sign < 0)
    plain = student_interval(values)
    assert (plain.lower, plain.upper) == pytest.approx(tuple(student))


def test_paired_difference_is_the_interval_of_the_differences() -> None:
    a, b = sample(20, 40.0, 12.0, 0), sample(20, 10.0, 3.0, 1)
    found = paired_difference_interval(a, b)
    assert found == mean_interval((a.mean(axis=1) - b.mean(axis=1))[:, None])
    expected = stats.ttest_rel(a.mean(axis=1), b.mean(axis=1)).confidence_interval(0.95)
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), abs=0.2)
    assert found.value == pytest.approx(a.mean() - b.mean())


def test_disjoint_sets_have_the_interval_of_welch_unless_skewed() -> None:
    half, other = sample(10, 0.0, 12.0, 0), sample(6, 0.0, 3.0, 1)
    a, b = 40 + np.concatenate([half, -half]), 10 + np.concatenate([other, -other])
    found = independent_difference_interval(a, b)
    welch = stats.ttest_ind(a.mean(axis=1), b.mean(axis=1), equal_var=False)
    expected = welch.confidence_interval(0.95)
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high))
    assert (found.value, found.n) == (pytest.approx(30.0), 32)
    a = a**2
    first, second = a.mean(axis=1), b.mean(axis=1)
    welch = stats.ttest_ind(first, second, equal_var=False)
    error = (first.var(ddof=1) / 20 + second.var(ddof=1) / 12) ** 0.5
    moments = [((m - m.mean()) ** 3).mean() / len(m) ** 2 for m in (first, second)]
    quantile = stats.t.ppf(0.975, welch.df)
    value = first.mean() - second.mean()
    low, high = hall(value, error, (moments[0] - moments[1]) / error**3, quantile)
    student = welch.confidence_interval(0.95)
    found = independent_difference_interval(a, b)
    expected = (min(low, student.low), max(high, student.high))
    assert (found.lower, found.upper) == pytest.approx(expected)


def test_shares_are_clopper_and_pearson_where_answers_are_independent() -> None:
    # Each cluster is one answer: as many effective answers as clusters, less the estimated mean.
    answers = np.array([[1.0]] * 15 + [[0.0]] * 5)
    found = share_interval(answers)
    exact = stats.binomtest(14, 19).proportion_ci(method="exact")
    count = 19.0
    lower = stats.beta.ppf(0.025, 0.75 * count, 0.25 * count + 1)
    upper = stats.beta.ppf(0.975, 0.75 * count + 1, 0.25 * count)
    assert (found.lower, found.upper) == pytest.approx((100 * lower, 100 * upper))
    assert found.lower == pytest.approx(100 * exact.low, abs=4)
    assert (found.value, found.n) == (75.0, 20)
    whole = stats.binomtest(20, 20).proportion_ci(method="exact")
    found = share_interval({str(q): [True, None, 1.0] for q in range(20)})
    assert found.upper == 100.0 and found.lower == pytest.approx(100 * whole.low)
    none = share_interval(np.zeros((20, 4)))
    assert (none.value, none.lower) == (0.0, 0.0)
    assert none.upper == pytest.approx(100 - 100 * whole.low)
    # Answers to a question that are all alike count once, however many there are.
    alike = share_interval(np.repeat(answers, 4, axis=1))
    assert alike.lower == pytest.approx(share_interval(answers).lower, abs=2)
    assert alike.value == 75.0


def test_ratio_limits_are_where_the_interval_of_the_difference_just_excludes_zero() -> None:
    x, y = sample(20, 40.0, 12.0, 0), sample(20, 60.0, 20.0, 1)
    x += 0.5 * (y - 60.0)
    for sign in (1, -1):
        found = ratio_interval(x, sign * y)
        assert found.value == pytest.approx(sign * 100 * x.mean() / y.mean())
        for limit in (found.lower, found.upper):
            rest = mean_interval(x - limit / 100 * sign * y)
            assert min(abs(rest.lower), abs(rest.upper)) < 1e-6
        for away in (-3, 3):
            beyond = found.lower + away if away < 0 else found.upper + away
            rest = mean_interval(x - beyond / 100 * sign * y)
            assert rest.lower * rest.upper > 0


def test_ratio_limits_are_those_of_fieller_where_nothing_is_skewed() -> None:
    half_x, half_y = sample(10, 0.0, 12.0, 0), sample(10, 0.0, 20.0, 1)
    x, y = (
        mean + np.concatenate([half, -half]).mean(axis=1)
        for mean, half in ((40, half_x), (60, half_y))
    )
    square = stats.t.ppf(0.975, 19) ** 2 / 20
    (xx, xy), (_, yy) = square * np.cov(x, y)
    limits = np.sort(np.roots([60**2 - yy, -2 * (40 * 60 - xy), 40**2 - xx]))
    found = ratio_interval(x[:, None], y[:, None])
    assert (found.lower, found.upper) == pytest.approx(tuple(100 * limits))


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


def test_without_variance_the_interval_is_the_value_where_signs_could_tell() -> None:
    values = np.full((6, 2), 25.0)
    assert sign_flip_p_value(values[:, 0], seed=0) <= 0.05 < sign_flip_p_value(values[1:, 0], 0)
    assert mean_interval(values) == Interval(25.0, 25.0, 25.0, 6)
    assert ratio_interval(values, 2 * values) == Interval(50.0, 50.0, 50.0, 6)
    assert independent_difference_interval(values, values - 5) == Interval(5.0, 5.0, 5.0, 12)


def test_a_few_equal_values_are_no_certainty() -> None:
    few = np.full((5, 2), 25.0)
    # Differences that are equal but for rounding are equal.
    noise = few + np.linspace(0, 1e-13, 5)[:, None]
    for values in (few, noise):
        assert mean_interval(values).lower is mean_interval(values).upper is None
        assert paired_difference_interval(values + 60, values).lower is None
    assert mean_interval(few, 0.9).lower == 25.0
    assert ratio_interval(few, 2 * few) == Interval(50.0, None, None, 5)
    many = np.full((20, 2), 20.0)
    assert independent_difference_interval(few, many) == Interval(5.0, None, None, 25)
    spread = mean_interval(few + np.linspace(0, 1, 5)[:, None])
    assert spread.lower is not None and spread.upper - spread.lower > 0.5
    # Where nothing is reported, as when a search gives settings up, t stands alone.
    assert student_interval(few).upper == 25.0


@pytest.mark.parametrize("n", [2, 5, 20])
def test_scores_at_an_end_of_their_scale_have_the_limit_of_a_share(n: int) -> None:
    top, bottom = np.full((n, 3), 100.0), np.zeros((n, 3))
    share = share_interval(np.ones((n, 3)))
    assert share.lower < 84
    for confidence in (0.9, 0.95):
        share = share_interval(np.ones((n, 3)), confidence)
        found = score_interval(top, confidence)
        assert (found.value, found.upper, found.n) == (100.0, 100.0, n)
        assert found.lower == pytest.approx(share.lower)
        found = score_interval(bottom, confidence)
        assert (found.lower, found.upper) == (0.0, pytest.approx(100 - share.lower))
        for delta in (delta_interval(top, confidence), paired_delta_interval(top, bottom)):
            assert delta.upper == 100.0
        assert delta_interval(top, confidence).lower == pytest.approx(2 * share.lower - 100)
        low = delta_interval(-top, confidence)
        assert (low.lower, low.upper) == (-100.0, pytest.approx(100 - 2 * share.lower))
    assert score_interval(top[:1]) == Interval(100.0, None, None, 1)
    assert score_interval(np.full((20, 1), 99.0)) == Interval(99.0, 99.0, 99.0, 20)


def test_limits_of_scores_are_cut_to_their_scale() -> None:
    low, high = np.array([[0.0]] * 19 + [[30.0]]), np.array([[100.0]] * 19 + [[70.0]])
    for values, inner, outer in ((low, 0.0, "lower"), (high, 100.0, "upper")):
        plain, cut = mean_interval(values), score_interval(values)
        assert not 0 <= getattr(plain, outer) <= 100
        assert getattr(cut, outer) == inner
        assert (cut.value, cut.n) == (plain.value, plain.n)
    middle = sample(20, 50.0, 12.0, 0)
    assert score_interval(middle, 0.9) == mean_interval(middle, 0.9)
    assert score_interval({"q": [30.0]}) == Interval(30.0, None, None, 1)


def test_one_cluster_has_no_bounds() -> None:
    one = {"q": [30.0, 50.0]}
    assert mean_interval(one) == Interval(40.0, None, None, 1)
    assert paired_difference_interval(one, {"q": [10.0]}) == Interval(30.0, None, None, 1)
    assert ratio_interval(one, {"q": [10.0]}) == Interval(400.0, None, None, 1)
    several = {"a": [10.0], "b": [20.0]}
    assert independent_difference_interval(one, several) == Interval(25.0, None, None, 3)
    assert share_interval({"q": [1.0, 0.0]}) == Interval(50.0, None, None, 1)


@pytest.mark.parametrize("times", [1.3, 0.4, -2.4, 1 / 3])
def test_ratio_of_proportional_sides_is_that_ratio(times: float) -> None:
    y = np.array([[41.1], [34.95], [38.95], [39.2]])
    found = ratio_interval(times * y, y)
    assert [found.lower, found.upper] == pytest.approx([100 * times] * 2)


def test_ratio_to_what_may_be_zero_is_unbounded() -> None:
    found = ratio_interval(sample(20, 40.0, 12.0, 0), sample(20, 0.5, 20.0, 1))
    assert (found.lower, found.upper) == (None, None)


def test_impossible_input_is_one_sentence() -> None:
    empty = np.full((3, 2), NAN)
    some = np.ones((3, 2))
    single = {"a": [1.0]}
    rising = np.arange(6.0).reshape(3, 2)
    for call, sentence in (
        (lambda: mean_interval(empty), "mean: every value is missing"),
        (lambda: paired_difference_interval(empty, some), "paired difference: every value is"),
        (lambda: ratio_interval(some, empty), "ratio: no cluster has a value on both sides"),
        (lambda: ratio_interval(some, 0 * some), "the denominator's mean is 0"),
        (lambda: ratio_interval(some, np.ones((4, 2))), "two sides of different kind or length"),
        (lambda: paired_difference_interval(single, some), "two sides of different kind"),
        (lambda: paired_difference_interval(single, {"b": [1.0]}), "paired difference: every val"),
        (lambda: mean_interval(rising, confidence=95.0), "confidence is 95.0; expected a number"),
        (lambda: independent_difference_interval(some, empty), "every value of one side is miss"),
        (lambda: share_interval(empty), "share: every value is missing"),
        (lambda: share_interval(some / 2), "a value other than 0 and 1"),
        (lambda: cosine(torch.zeros(2), torch.ones(2)), "found a vector of norm 0"),
    ):
        with pytest.raises(TraitsteerError, match=sentence):
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
