"""Effects, parts and shares against direct enumeration; what is planted is found, and no more."""

import itertools

import numpy as np
import pytest
from scipy import stats

from traitsteer.maths.factors import (
    at,
    cube,
    effect,
    higher_order_margin,
    margin_of,
    shapley,
    spearman_brown,
    terms,
    variance_shares,
)
from traitsteer.maths.statistics import mean_interval
from traitsteer.words.errors import TraitsteerError

QUESTIONS = 40


def noise(factors: int = 4, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, (QUESTIONS, *[2] * factors))


def planted(main: dict[int, float], pair: float = 0.0, seed: int = 0) -> np.ndarray:
    """Noise with effects at the factors of `main`, and an interaction of factors 0 and 1."""
    cells = noise(seed=seed)
    for place in itertools.product((0, 1), repeat=4):
        add = sum(size * (place[axis] - 0.5) for axis, size in main.items())
        add += 2 * pair * (place[0] - 0.5) * (place[1] - 0.5)
        cells[(slice(None), *place)] += add
    return cells


def test_an_effect_is_a_difference_of_means_and_an_interaction_half_of_what_it_gains() -> None:
    cells = noise(3)
    assert np.allclose(
        effect(cells, (1,)), cells[:, :, 1].mean(axis=(1, 2)) - cells[:, :, 0].mean(axis=(1, 2))
    )
    gains = [cells[:, 1, level] - cells[:, 0, level] for level in (0, 1)]
    assert np.allclose(effect(cells, (0, 1)), (gains[1] - gains[0]).mean(axis=1) / 2)
    assert terms(3) == [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]


def test_planted_effects_are_found_and_nothing_where_none_is() -> None:
    cells = planted({0: 5.0, 2: -3.0}, pair=4.0)
    expected = {(0,): 5.0, (2,): -3.0, (0, 1): 4.0}
    for term in terms(4):
        found = mean_interval(effect(cells, term)[:, None], 0.99)
        assert found.n == QUESTIONS
        if term in expected:
            assert abs(found.value - expected[term]) < 0.5
            assert not found.lower <= 0 <= found.upper
        else:
            assert found.lower <= 0 <= found.upper, term
    assert higher_order_margin(cells) < 1.0


def test_parts_are_the_mean_over_all_orders_of_switching() -> None:
    cells = planted({0: 5.0, 1: 2.0}, pair=3.0, seed=1)
    switched = (3, 0, 1)
    found = shapley(cells, switched)
    for place, factor in enumerate(switched):
        gains = []
        for order in itertools.permutations(switched):
            before = order[: order.index(factor)]
            gains.append(at(cells, (*before, factor)) - at(cells, before))
        assert np.allclose(found[:, place], np.mean(gains, axis=0))
    assert np.allclose(found.sum(axis=1), cells[:, 1, 1, 0, 1] - cells[:, 0, 0, 0, 0])


def test_a_part_without_interactions_is_the_effect_and_a_factor_that_does_nothing_has_none() -> (
    None
):
    cells = planted({0: 5.0}) - noise()
    parts = shapley(cells, (0, 1, 2, 3))
    assert np.allclose(parts, [5.0, 0.0, 0.0, 0.0])
    # Two factors that act only together share what they do.
    together = planted({}, pair=6.0) - noise()
    parts = shapley(together, (0, 1))
    assert np.allclose(parts[:, 0], parts[:, 1])


def test_shares_of_variance_are_those_of_least_squares() -> None:
    cells = planted({0: 5.0, 2: -3.0}, pair=4.0, seed=2) + noise(0, 3, 2.0).reshape(-1, 1, 1, 1, 1)
    found = variance_shares(cells)
    assert sum(found.values()) == pytest.approx(1.0)
    place = np.array(list(itertools.product(range(QUESTIONS), *[(0, 1)] * 4)))
    values = cells.reshape(-1)
    signs = 2.0 * place[:, 1:] - 1

    def residual(columns: list[np.ndarray]) -> float:
        design = np.stack([np.ones(len(values)), *columns], axis=1)
        fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]
        return float(np.square(values - fitted).sum())

    blocks = [(place[:, 0] == question).astype(float) for question in range(1, QUESTIONS)]
    every = {term: signs[:, list(term)].prod(axis=1) for term in terms(4)}
    total, whole = residual([]), residual([*blocks, *every.values()])
    assert found["rest"] == pytest.approx(whole / total)
    for term in [(0,), (1,), (0, 1), (0, 1, 2, 3)]:
        others = [column for other, column in every.items() if other != term]
        assert found[term] == pytest.approx((residual([*blocks, *others]) - whole) / total)
    assert found["questions"] == pytest.approx((residual(list(every.values())) - whole) / total)


def test_shares_of_one_factor_give_the_f_of_a_one_way_analysis() -> None:
    cells = noise(1, 4) + np.array([0.0, 0.7])
    found = variance_shares(cells)
    within = found["questions"] + found["rest"]
    f = found[(0,)] / (within / (2 * QUESTIONS - 2))
    assert f == pytest.approx(stats.f_oneway(cells[:, 0], cells[:, 1]).statistic)
    assert variance_shares(np.ones((3, 2, 2))) is None


def test_the_margin_covers_the_luck_of_cells_that_no_question_shows() -> None:
    draw = np.random.default_rng(5)
    covered = []
    for _ in range(400):
        # Every question agrees on the luck of a cell, so that intervals over questions vanish.
        cells = np.repeat(draw.normal(0, 3, (1, 2, 2, 2, 2)), 5, axis=0)
        covered.append(abs(effect(cells, (0,)).mean()) < higher_order_margin(cells, 0.9))
    assert 0.86 < np.mean(covered) < 0.94
    assert higher_order_margin(noise(2)) is None


CONTRASTS = {
    "effect": lambda cells: effect(cells, (1,)),
    "part of four": lambda cells: shapley(cells, (0, 1, 2, 3))[:, 0],
    "part of three": lambda cells: shapley(cells, (0, 1, 2))[:, 0],
    "whole": lambda cells: at(cells, (0, 1, 2, 3)) - at(cells, ()),
    "whole of three": lambda cells: at(cells, (0, 1, 2)) - at(cells, ()),
    "lead": lambda cells: shapley(cells, (0, 1, 2, 3)) @ np.array([1.0, -1.0, 0.0, 0.0]),
}


def test_each_contrast_passes_its_own_margin_as_often_as_said() -> None:
    draw = np.random.default_rng(6)
    studies = draw.normal(0, 3, (3000, 1, 2, 2, 2, 2))
    of_effect = [higher_order_margin(cells) for cells in studies]
    for name, contrast in CONTRASTS.items():
        scale = margin_of(contrast, 4, 1.0)
        found = np.abs(contrast(studies[:, 0]))
        # Parts and wholes hold interactions that also make the margin, and pass it less often.
        assert 0.02 < np.mean(found > scale * np.array(of_effect)) < 0.065, name
        # What is there is seen, however few cells a contrast has.
        real = found + 10 * scale * np.median(of_effect)
        assert np.mean(real > scale * np.array(of_effect)) > 0.99, name
        if "whole" in name:
            assert scale == pytest.approx(8**0.5)
            assert np.mean(found > np.array(of_effect)) > 0.35, (
                "the margin of an effect does not do"
            )


def test_halves_foretell_a_second_draw_and_no_signal_foretells_none() -> None:
    draw = np.random.default_rng(7)

    def likeness(rows: int, signal: float) -> float:
        mean = signal * draw.normal(size=4000)
        first, second = (mean + draw.normal(size=(rows, 4000)).mean(axis=0) for _ in range(2))
        return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))

    assert spearman_brown(likeness(20, 0.3)) == pytest.approx(likeness(40, 0.3), abs=0.03)
    assert (spearman_brown(likeness(20, 0.0)) or 0.0) == pytest.approx(0.0, abs=0.1)
    assert spearman_brown(1.0) == 1.0
    # Halves that are no more alike than by chance foretell nothing, and no likeness below -1.
    assert [spearman_brown(halves) for halves in (0.0, -0.4, -1.0)] == [None] * 3


def test_cells_are_put_at_their_places_once_each() -> None:
    places = [(1, 0), (0, 0), (1, 1), (0, 1)]
    whole = cube([np.full(3, 10.0 * a + b) for a, b in places], places)
    assert whole.shape == (3, 2, 2)
    assert [whole[0, a, b] for a, b in places] == [10.0, 0.0, 11.0, 1.0]
    for wrong in (places[:3], [*places[:3], (1, 0)]):
        with pytest.raises(TraitsteerError, match="each of the 4 combinations"):
            cube([np.zeros(3)] * len(wrong), wrong)
