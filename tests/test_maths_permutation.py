"""Permutation tests: equal to enumeration by hand, uniform under the null, and never zero."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from traitsteer.maths.permutation import holm, rank_p_value, sign_flip_p_value
from traitsteer.words.errors import TraitsteerError


def normal(n: int, mean: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, n)


@pytest.mark.parametrize("mean", [0.0, 0.6])
def test_few_clusters_are_enumerated(mean: float) -> None:
    differences = normal(9, mean)
    totals = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((-1, 1), repeat=9)
    ]
    most = abs(differences.sum()) - 1e-9
    expected = sum(total >= most for total in totals) / len(totals)
    assert sign_flip_p_value(differences, seed=0) == pytest.approx(expected)
    assert sign_flip_p_value(differences, seed=1) == pytest.approx(expected)


def test_many_clusters_agree_with_student_where_scores_are_normal() -> None:
    differences = normal(30, 0.35)
    found = sign_flip_p_value(differences, seed=0)
    expected = stats.ttest_1samp(differences, 0.0).pvalue
    assert found == pytest.approx(expected, abs=0.015)
    assert found == sign_flip_p_value(differences, seed=0)
    assert sign_flip_p_value(-differences, seed=0) == pytest.approx(found, abs=0.01)


def test_it_is_never_zero_and_misses_nothing_that_is_missing() -> None:
    assert sign_flip_p_value(np.full(30, 50.0), seed=0, resamples=999) == pytest.approx(
        2 / 1000, abs=1e-9
    )
    holed = np.array([1.0, math.nan, 2.0, 3.0])
    assert sign_flip_p_value(holed, seed=0) == sign_flip_p_value(holed[[0, 2, 3]], seed=0) == 0.25
    assert sign_flip_p_value(np.array([7.0]), seed=0) == 1.0
    assert sign_flip_p_value(np.zeros(5), seed=0) == 1.0
    with pytest.raises(TraitsteerError, match="every difference is missing"):
        sign_flip_p_value(np.array([math.nan]), seed=0)


def test_ranks_among_nulls() -> None:
    assert rank_p_value(9.0, [1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(1 / 6)
    assert rank_p_value(3.0, [1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(4 / 6)
    assert rank_p_value(0.0, [1.0, 2.0]) == 1.0
    assert rank_p_value(0.0, []) == 1.0


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02] and holm([]) == []


def test_holm_makes_few_false_claims_among_several() -> None:
    draws = np.random.default_rng(0).uniform(size=(4000, 3))
    claims = np.mean([min(holm(row.tolist())) < 0.05 for row in draws])
    assert 0.035 < claims < 0.065
