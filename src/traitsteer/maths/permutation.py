"""Tests that assume no distribution: what would chance alone have shown?

Two questions are asked of a steered setting. *Did anything change?* Were steering without effect,
the scores of a question with and without it could be exchanged, which turns the sign of the
question's difference: the observed mean is held against the means under all, or many, patterns of
signs. *Did this vector do it?* A null vector (random, shuffled labels) is as good as the vector if
the trait plays no part, so the vector's delta has an equal chance of every rank among them.

Sources: Fisher 1935, "The Design of Experiments", section 21; Phipson and Smyth 2010,
"Permutation p-values should never be zero".
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.shapes import Float


def sign_flip_p_value(
    differences: Float[np.ndarray, " clusters"], seed: int, resamples: int = 9999
) -> float:
    """Two-sided p-value of a mean difference of zero, by turning the sign of whole clusters.

    Every pattern of signs is counted when there are no more than `resamples` of them (13 clusters
    at the default); otherwise that many are drawn, and the observed one is counted with them, so
    that the value is never 0. Missing differences (NaN) are left out.

    Raises:
        TraitsteerError: every difference is missing.
    """
    present = differences[~np.isnan(differences)]
    if not len(present):
        raise TraitsteerError(
            "sign-flip test: every difference is missing; expected at least one cluster"
        )
    if len(present) == 1:
        return 1.0  # both signs are as far from 0
    # Takes a second to import, which few of the stages that import this file have to wait.
    from scipy import stats

    found = stats.permutation_test(
        (present,),
        _mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def rank_p_value(observed: float, nulls: Sequence[float]) -> float:
    """One-sided p-value of a value among null values: (1 + nulls at least as large) / (1 + nulls).

    The least that it can be is 1 / (1 + nulls): 5 null vectors tell apart no better than 0.17.
    All values must be means of equally many answers. Where the observed one was chosen among many,
    the choice must rest on other answers; the p-value is conditional on it, and favours a value
    whose setting was chosen among many while that of the nulls was not.
    """
    return (1 + sum(null >= observed for null in nulls)) / (1 + len(nulls))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being one of several: the chance of one false claim among all of them.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted


def _mean(differences: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    return np.asarray(differences.mean(axis=axis))
