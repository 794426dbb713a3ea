"""Frontiers at equal coherence: read off by hand, the last crossing, and nothing where none is."""

import numpy as np
import pytest
from scipy import stats

from traitsteer.maths.frontier import FrontierStep, delta_at_coherence
from traitsteer.words.errors import TraitsteerError


def step(strength: float, trait: float, coherence: float, spread: float = 0.0) -> FrontierStep:
    """10 questions of 2 samples; `spread` moves the questions apart, the mean stays."""
    apart = spread * np.linspace(-1, 1, 10)
    return FrontierStep(
        strength,
        {str(q): [trait + apart[q], trait + apart[q]] for q in range(10)},
        {str(q): [coherence, None] for q in range(10)},
    )


UNSTEERED = step(0.0, 5.0, 90.0)


def test_between_two_steps_it_is_a_straight_line() -> None:
    steps = [step(0.8, 65.0, 60.0), step(0.4, 25.0, 85.0), step(0.6, 45.0, 80.0)]
    found = delta_at_coherence(steps, UNSTEERED, 70.0, seed=0)
    assert found.delta.value == pytest.approx(50.0)
    assert found.strength == pytest.approx(0.7)
    assert (found.delta.lower, found.delta.upper) == pytest.approx((50.0, 50.0))
    assert found.delta.n == 10
    below = delta_at_coherence(steps, UNSTEERED, lambda unsteered: unsteered - 2.5, seed=0)
    assert below.coherence == 87.5
    assert below.delta.value == pytest.approx(10.0)
    assert below.strength == pytest.approx(0.2)


def test_of_several_crossings_the_last_before_the_collapse_is_taken() -> None:
    steps = [step(0.2, 15.0, 68.0), step(0.4, 25.0, 75.0), step(0.6, 35.0, 65.0)]
    found = delta_at_coherence([*steps, step(0.8, 35.0, 10.0)], UNSTEERED, 70.0, seed=0)
    assert found.strength == pytest.approx(0.5)
    assert found.delta.value == pytest.approx(25.0)


def test_a_frontier_that_does_not_cross_has_no_delta() -> None:
    steps = [step(0.4, 25.0, 85.0), step(0.6, 45.0, 80.0)]
    assert delta_at_coherence(steps, UNSTEERED, 70.0, seed=0) is None
    assert delta_at_coherence(steps, UNSTEERED, 95.0, seed=0) is None
    # Exactly at the target is at it: the step itself.
    assert delta_at_coherence(steps, UNSTEERED, 85.0, seed=0).delta.value == pytest.approx(20.0)


def test_where_many_resamples_do_not_cross_the_interval_is_unbounded() -> None:
    drawn = np.random.default_rng(0).normal(0.0, 10.0, 10)
    for mean, crosses in ((69.0, True), (71.0, False)):
        coherence = {str(q): [float(v)] for q, v in enumerate(drawn - drawn.mean() + mean)}
        last = FrontierStep(0.6, step(0.6, 45.0, 0.0, 5.0).trait_score, coherence)
        found = delta_at_coherence([step(0.4, 25.0, 85.0), last], UNSTEERED, 70.0, seed=0)
        assert (found is not None) == crosses
        if crosses:
            assert (found.delta.lower, found.delta.upper) == (None, None)


def test_with_a_fixed_crossing_it_is_the_bootstrap_of_a_mean() -> None:
    steps = [step(0.4, 30.0, 80.0, 12.0), step(0.6, 50.0, 60.0, 12.0)]
    found = delta_at_coherence(steps, UNSTEERED, 70.0, seed=0, resamples=20000)
    deltas = 35.0 + 12.0 * np.linspace(-1, 1, 10)
    t = stats.t.ppf(0.975, 9) * (10 / 9) ** 0.5
    levels = [stats.norm.cdf(-t), stats.norm.cdf(t)]
    drawn = np.random.default_rng(1).choice(deltas, (20000, 10)).mean(axis=1)
    assert found.delta.lower == pytest.approx(np.quantile(drawn, levels[0]), abs=0.3)
    assert found.delta.upper == pytest.approx(np.quantile(drawn, levels[1]), abs=0.3)
    student = stats.ttest_1samp(deltas, 0.0).confidence_interval(0.95)
    assert (found.delta.lower, found.delta.upper) == pytest.approx(tuple(student), abs=0.8)
    again = delta_at_coherence(steps[::-1], UNSTEERED, 70.0, seed=0, resamples=20000)
    assert again == found


def test_impossible_input_is_one_sentence() -> None:
    good = step(0.4, 25.0, 60.0)
    for steps in ([good, good], [step(0.0, 1.0, 1.0)], [step(-0.1, 1.0, 1.0)]):
        with pytest.raises(TraitsteerError, match="expected numbers above 0"):
            delta_at_coherence(steps, UNSTEERED, 70.0, seed=0)


def test_few_questions_are_no_failure() -> None:
    """What can be read off is, after all answers were judged."""
    other = FrontierStep(0.4, {"other": [1.0]}, {"other": [1.0]})
    assert delta_at_coherence([other], UNSTEERED, 70.0, seed=0) is None
    one = [FrontierStep(s, {"q": [t]}, {"q": [c]}) for s, t, c in ((0, 0, 90), (1, 10, 50))]
    alone = delta_at_coherence(one[1:], one[0], 70.0, seed=0).delta
    assert (alone.value, alone.lower, alone.n) == (5.0, None, 1)


@pytest.mark.parametrize(("questions", "sure"), [(2, False), (5, False), (6, True)])
def test_a_few_questions_that_are_alike_are_no_certainty(questions: int, sure: bool) -> None:
    names = [str(q) for q in range(questions)]
    few = [
        FrontierStep(s, dict.fromkeys(names, (t,)), dict.fromkeys(names, (c,)))
        for s, t, c in ((0.0, 0.0, 90.0), (0.4, 10.0, 50.0))
    ]
    found = delta_at_coherence(few[1:], few[0], 70.0, seed=0).delta
    limits = pytest.approx((5.0, 5.0)) if sure else (None, None)
    assert (found.value, (found.lower, found.upper)) == (5.0, limits)
