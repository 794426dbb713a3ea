"""The figures of the evidence: every result is drawn, what is missing is not, nothing fails."""

import random
from typing import Any

import pytest
from evidence_inputs import cross_rows, evidence, perplexity_rows

from traitsteer.words.findings import signed
from traitsteer.world import evidence_plots
from traitsteer.world.plot_style import ARMS, inline_svg, style

TRAITS, METHODS = ("evil", "sycophancy"), ("mean_difference", "probe")
CELLS = [("instruction", "mean_difference"), *(("natural", method) for method in METHODS)]
NAMES = [arm for arm, _ in dict.fromkeys(CELLS)]


def results() -> list[dict[str, Any]]:
    """Results of two traits; one cell found nothing feasible."""
    draw = random.Random(0)
    found = []
    for trait in TRAITS:
        for arm, method in CELLS:
            best = {"layer": 2, "strength": 0.6, "coefficient": 3.1, "delta": 55.0}
            nothing = (trait, method) == ("evil", "probe")
            head = {"trait": trait, "arm": arm, "method": method}
            found.append(head | evidence(None if nothing else best, draw))
    return found


def crossed() -> list[dict[str, Any]]:
    return cross_rows(dict.fromkeys(TRAITS, 60.0), TRAITS, ("instruction", "natural"))


def draw(name: str, rows: list[dict[str, Any]]) -> str:
    figures = {
        "nulls": lambda: evidence_plots.nulls(rows, crossed(), NAMES),
        "frontiers": lambda: evidence_plots.frontiers(rows, 70, NAMES),
        "shrinkage": lambda: evidence_plots.shrinkage(rows, NAMES),
        "perplexity": lambda: evidence_plots.perplexity(rows, NAMES),
    }
    with style():
        return inline_svg(figures[name](), name)


@pytest.mark.parametrize("name", ["nulls", "frontiers", "shrinkage"])
def test_a_figure_names_every_trait_and_method_and_is_the_same_twice(name: str) -> None:
    svg = draw(name, results())
    for text in (*TRAITS, "instruction, mean difference", "natural, probe"):
        assert text in svg
    assert svg == draw(name, results())
    assert "var(--arm-0)" in svg and ARMS[0] not in svg


@pytest.mark.parametrize("name", ["nulls", "frontiers", "shrinkage"])
def test_nothing_feasible_and_missing_bounds_are_drawn_as_such(name: str) -> None:
    nothing = [row for row in results() if row["delta"] is None]
    assert "nothing feasible" in draw(name, nothing)
    rows = results()
    for row in rows:
        if row["delta"] is not None:
            row["delta"] = row["delta"] | {"lower": None, "upper": None}
            row["shrinkage"] = row["shrinkage"] | {"lower": None, "upper": None}
            row |= {"at_floor": None, "at_baseline_minus_5": None, "prompted": None}
            row |= {"first_delta": None, "frontier": row["frontier"][:3]}
    assert draw(name, rows)
    assert draw(name, [])


def test_shrinkage_is_written_out() -> None:
    svg = draw("shrinkage", results())
    for row in results():
        if row["shrinkage"] is not None:
            assert signed(row["shrinkage"]["value"]) in svg


def test_perplexity_names_every_vector_with_its_ratio() -> None:
    rows = perplexity_rows(TRAITS, ("instruction", "natural"))
    svg = draw("perplexity", rows)
    for row in rows:
        assert f"{row['vector']}, {row['arm']}, mean difference" in svg
        assert f"× {row['ratio']['value']:.2f}" in svg
    one = rows[0] | {"ratio": {"value": 0.9, "lower": None, "upper": None, "n": 1}}
    assert "× 0.90" in draw("perplexity", [one])
    assert "nothing feasible" in draw("perplexity", [])
