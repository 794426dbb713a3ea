"""The figures of the evidence: every result is drawn, what is missing is not, nothing fails."""

import itertools
import random
from typing import Any

import pytest
from evidence_inputs import cross_rows, evidence, perplexity_rows
from matplotlib.figure import Figure
from matplotlib.text import Text

from traitsteer.words.findings import signed
from traitsteer.world.figures import evidence_plots, plots
from traitsteer.world.figures.plot_style import ARMS, inline_svg, style

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


def figure(name: str, rows: list[dict[str, Any]]) -> Figure:
    figures = {
        "nulls": lambda: evidence_plots.nulls(rows, crossed(), NAMES),
        "frontiers": lambda: evidence_plots.frontiers(rows, 70, NAMES),
        "shrinkage": lambda: evidence_plots.shrinkage(rows, NAMES),
        "perplexity": lambda: evidence_plots.perplexity(rows, NAMES),
        "forest": lambda: plots.forest(rows, rows, NAMES),
    }
    with style():
        return figures[name]()


def draw(name: str, rows: list[dict[str, Any]]) -> str:
    with style():
        return inline_svg(figure(name, rows), name)


def lines(figure: Figure) -> list[list[float]]:
    """The places along x, and along y, of every line of every panel."""
    drawn = [line for axes in figure.axes for line in axes.lines]
    return [list(map(float, at)) for line in drawn for at in (line.get_xdata(), line.get_ydata())]


@pytest.mark.parametrize("name", ["nulls", "frontiers", "shrinkage"])
def test_a_figure_names_every_trait_and_method_and_is_the_same_twice(name: str) -> None:
    svg = draw(name, results())
    for text in (*TRAITS, "instruction, mean difference", "natural, probe"):
        assert text in svg
    assert svg == draw(name, results())
    assert "var(--arm-0)" in svg and ARMS[0] not in svg


@pytest.mark.parametrize("name", ["nulls", "frontiers", "shrinkage", "forest"])
def test_nothing_feasible_is_drawn_as_such(name: str) -> None:
    nothing = [row for row in results() if row["delta"] is None]
    assert "nothing feasible" in draw(name, nothing)
    assert draw(name, [])
    drawn = figure(name, nothing)
    with style():
        drawn.draw_without_rendering()
    said = [text for text in drawn.findobj(Text) if text.get_text() == "nothing feasible"]
    assert said and all(drawn.bbox.contains(*text.get_window_extent().max) for text in said)


@pytest.mark.parametrize(
    ("name", "bounded"), [("nulls", "delta"), ("frontiers", "at_floor"), ("shrinkage", "delta")]
)
def test_a_delta_without_bounds_is_a_point_without_a_line(name: str, bounded: str) -> None:
    rows = [row for row in results() if row["delta"] is not None]
    deltas = [row[bounded]["delta"] if name == "frontiers" else row[bounded] for row in rows]
    ends = [[delta["lower"], delta["upper"]] for delta in deltas]
    drawn = lines(figure(name, rows))
    assert all(each in drawn for each in ends), "the whiskers of a bounded delta"
    for row, delta in zip(rows, deltas, strict=True):
        delta |= {"lower": None, "upper": None}
        row["shrinkage"] |= {"lower": None, "upper": None}
    drawn = lines(figure(name, rows))
    assert all([delta["value"]] in drawn for delta in deltas), "its point stays"
    assert not any(each in drawn for each in ends)
    svg = draw(name, rows)
    assert "None" not in svg and "nan" not in svg
    assert svg.count("(unbounded)") == (len(rows) if name == "shrinkage" else 0)


@pytest.mark.parametrize("name", ["nulls", "frontiers", "shrinkage"])
def test_what_is_missing_is_not_drawn(name: str) -> None:
    rows = [row for row in results() if row["delta"] is not None]
    gone = [row["at_floor"]["delta"]["value"] for row in rows] if name == "frontiers" else []
    gone += [row["prompted"]["delta"]["value"] for row in rows] if name == "nulls" else []
    gone += [row["first_delta"] for row in rows] if name == "shrinkage" else []
    assert all(any(value in at for at in lines(figure(name, rows))) for value in gone)
    for row in rows:
        row |= {"at_floor": None, "at_baseline_minus_5": None, "prompted": None}
        row |= {"first_delta": None, "frontier": row["frontier"][:3]}
    drawn = lines(figure(name, rows))
    assert not any(value in at for at in drawn for value in gone)
    assert "None" not in draw(name, rows) and "nan" not in draw(name, rows)


def test_a_delta_that_rounds_to_zero_has_no_sign() -> None:
    row = next(row for row in results() if row["delta"] is not None)
    row |= {"delta": {"value": -0.04, "lower": -1.0, "upper": 1.0, "n": 20}}
    with style():
        svg = inline_svg(plots.forest([row], [row], NAMES), "forest")
    assert ">0.0<" in svg and "−0.0" not in svg


def test_shrinkage_is_written_out() -> None:
    svg = draw("shrinkage", results())
    for row in results():
        if row["shrinkage"] is not None:
            assert signed(row["shrinkage"]["value"]) in svg


@pytest.mark.parametrize("cells", [1, 6, 16])
def test_every_point_of_shrinkage_stands_at_its_own_stage(cells: int) -> None:
    draw = random.Random(0)
    best = {"layer": 2, "strength": 0.6, "coefficient": 3.1, "delta": 55.0}
    head = {"trait": "evil", "arm": "natural", "method": "probe"}
    axes = figure("shrinkage", [head | evidence(best, draw) for _ in range(cells)]).axes[0]
    left, right = axes.get_xlim()
    places = [list(map(float, line.get_xdata())) for line in axes.lines]
    stages = [at for at in places if len(at) == 3]
    assert len(stages) == cells
    for at in stages:
        assert all(abs(x - stage) < 0.3 and left < x < right for stage, x in enumerate(at))


def many(traits: int) -> list[dict[str, Any]]:
    """Results of so many traits with long names."""
    draw = random.Random(0)
    best = {"layer": 2, "strength": 0.6, "coefficient": 3.1, "delta": 55.0}
    return [
        {"trait": f"hallucination {n}", "arm": arm, "method": method} | evidence(best, draw)
        for n in range(traits)
        for arm, method in CELLS
    ]


@pytest.mark.parametrize("name", ["nulls", "frontiers"])
@pytest.mark.parametrize("traits", [1, 5, 6, 7, 12])
def test_no_two_titles_overlap_however_many_traits_there_are(name: str, traits: int) -> None:
    drawn = figure(name, many(traits))
    with style():
        drawn.draw_without_rendering()
    titled = [text for text in drawn.findobj(Text) if text.get_text().startswith("hallucination")]
    assert len(titled) == traits
    ticks = [
        tick
        for axes in drawn.axes
        for tick in axes.get_xticklabels()
        if axes.axison and min(axes.get_xlim()) <= tick.get_position()[0] <= max(axes.get_xlim())
    ]
    boxes = [text.get_window_extent() for text in (*titled, *ticks) if text.get_text()]
    assert len(boxes) > traits
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in drawn.axes if axes.axison}) == 1


@pytest.mark.parametrize("traits", [1, 3, 5, 6, 7, 8, 11])
def test_no_two_texts_of_shrinkage_overlap_however_many_traits_there_are(traits: int) -> None:
    rows = many(traits)
    for row in rows:
        row["shrinkage"] = {"value": -12.34, "lower": -23.45, "upper": 12.34, "n": 40}
    drawn = figure("shrinkage", rows)
    with style():
        drawn.draw_without_rendering()
    panels = [axes for axes in drawn.axes if axes.get_title(loc="left")]
    labels = [tick for axes in panels for tick in axes.get_xticklabels()]
    titled = [text for axes in panels for text in axes.findobj(Text) if "hall" in text.get_text()]
    written = [text for axes in drawn.axes for text in axes.texts]
    assert (len(panels), len(written), len(labels)) == (traits, len(rows), 3 * traits)
    boxes = [text.get_window_extent() for text in (*labels, *titled, *written)]
    assert all(drawn.bbox.x0 <= box.x0 and box.x1 <= drawn.bbox.x1 for box in boxes)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert len({axes.get_ylim() for axes in panels}) == 1


@pytest.mark.parametrize(("lower", "value", "upper"), [(0.83, 0.9, 0.98), (0.85, 0.97, 1.1)])
def test_a_ratio_below_one_is_on_the_picture_with_its_interval(
    lower: float, value: float, upper: float
) -> None:
    [row, *_] = perplexity_rows(TRAITS, ("natural",))
    row["ratio"] |= {"lower": lower, "value": value, "upper": upper}
    left, right = figure("perplexity", [row]).axes[0].get_xlim()
    assert left < lower and upper < right


def test_perplexity_names_every_vector_with_its_ratio() -> None:
    rows = perplexity_rows(TRAITS, ("instruction", "natural"))
    svg = draw("perplexity", rows)
    for row in rows:
        assert f"{row['vector']}, {row['arm']}, mean difference" in svg
        assert f"× {row['ratio']['value']:.2f}" in svg
    one = rows[0] | {"ratio": {"value": 0.9, "lower": None, "upper": None, "n": 1}}
    assert "× 0.90" in draw("perplexity", [one])
    assert "nothing feasible" in draw("perplexity", [])
