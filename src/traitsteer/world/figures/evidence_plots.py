"""The figures of what stands beside a delta: nulls, frontiers, shrinkage and side effects.

Every function takes records, JSON objects as their stages wrote them: `result` is
data/evaluation/<trait>/<arm>/<method>.json, `cross` and `effects` are the rows of data/cross.json
and data/perplexity.json.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from traitsteer.words.findings import bounds, signed
from traitsteer.words.results import AT_BASELINE, AT_FLOOR, BELOW_BASELINE, NULL_KINDS
from traitsteer.world.figures.plot_parts import (
    cell_handles,
    draw_interval,
    empty,
    legend_above,
    marker_of,
    over_ratios,
)
from traitsteer.world.figures.plot_style import (
    DASHES,
    INK,
    MUTED,
    NEUTRAL,
    PAPER,
    RULE,
    WIDTH,
    Record,
    colour_of,
    new_figure,
    words,
)

FAMILIES = (*NULL_KINDS, "other traits")
"""Kinds of null vectors, from top to bottom."""

ABREAST = 5
"""Most panels side by side that still have room for three named stages and for an interval."""


def nulls(results: Sequence[Record], cross: Sequence[Record], arms: Sequence[str]) -> Figure:
    """Delta of each vector beside every family of null vectors, a panel for each trait.

    What would make it false: a null family at or beyond the vector's own interval, for then a push
    of that length does it, and not the direction.
    """
    traits = list(dict.fromkeys(result["trait"] for result in results))
    most = max((_count(results, trait) for trait in traits), default=1)
    figure, panels = _panels(traits, 0.3 + (len(FAMILIES) + 1) * (0.2 + 0.15 * most))
    for axes, trait in zip(panels, traits, strict=False):
        shown = _feasible(results, trait)
        for place, result in enumerate(shown):
            offset = 0.5 * (place / max(len(shown) - 1, 1) - 0.5) if len(shown) > 1 else 0.0
            _against_nulls(axes, result, _wrong(cross, result), offset, arms)
        for one in [r for r in results if r["trait"] == trait and r["prompted"]][:1]:
            level = one["prompted"]["delta"]["value"]
            axes.axvline(level, color=MUTED, linewidth=1.1, linestyle=(0, (1, 1.5)))
        _panel(axes, trait, shown)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        for row in range(0, len(FAMILIES) + 1, 2):
            axes.axhspan(row - 0.5, row + 0.5, color=RULE, alpha=0.4, linewidth=0, zorder=0)
    rows = ("the vector", *FAMILIES)
    panels[0].set_yticks(range(len(rows)), rows)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    _below(figure, "delta of the trait score on the report questions, points")
    handles = cell_handles(results, arms)
    handles.append(Line2D([], [], color=NEUTRAL, marker=".", lw=0, label="each null vector"))
    handles.append(
        Line2D([], [], color=MUTED, lw=1.1, ls=(0, (1, 1.5)), label="system prompts, unsteered")
    )
    legend_above(figure, handles)
    return figure


def frontiers(results: Sequence[Record], floor: float, arms: Sequence[str]) -> Figure:
    """Delta against coherence over strengths at the chosen layer, a panel for each trait.

    Squares are read off at equal coherence: filled at the floor, open a little below the unsteered
    model. What would make it false: an arm that is ahead at its own best setting and behind where
    both are read off at the same coherence, for then it only paid more coherence for its delta.
    """
    traits = list(dict.fromkeys(result["trait"] for result in results))
    figure, panels = _panels(traits, 3.1)
    for axes, trait in zip(panels, traits, strict=False):
        shown = _feasible(results, trait)
        axes.axvspan(-5, floor, color=RULE, alpha=0.55, linewidth=0)
        axes.axvline(floor, color=INK, linewidth=0.9)
        for result in shown:
            _frontier(axes, result, floor, arms)
        axes.axhline(0, color=INK, linewidth=0.8)
        _panel(axes, trait, shown)
    lowest = min((_lowest(result) for result in results), default=floor)
    panels[0].set_xlim(100, min(lowest, floor) - 5)
    figure.supylabel("delta, points", color=MUTED, size=8.5)
    _below(figure, "mean coherence of the answers: intact on the left, broken on the right")
    handles = cell_handles(results, arms)
    handles.append(Line2D([], [], color=INK, lw=0, marker="o", mfc="none", ms=8, label="chosen"))
    for label, inside in (("at the floor", INK), (f"at baseline − {BELOW_BASELINE}", PAPER)):
        handles.append(Line2D([], [], color=INK, lw=0, marker="s", mfc=inside, ms=4.5, label=label))
    legend_above(figure, handles)
    return figure


def shrinkage(results: Sequence[Record], arms: Sequence[str]) -> Figure:
    """The largest delta of a feasible trial, and that of the chosen setting in recount and report.

    What would make it false: lines that fall from the recount to the report by more than the
    interval of their difference, for then the choice rested on luck.
    """
    traits = list(dict.fromkeys(result["trait"] for result in results))
    most = max((_count(results, trait) for trait in traits), default=1)
    lines, columns = _arranged(len(traits))
    figure = new_figure(WIDTH, 0.3 + lines * (2.8 + 0.2 * most))
    grid = figure.subplots(
        2 * lines, columns, sharey="row", squeeze=False, height_ratios=[2.6, 0.2 * most] * lines
    )
    panels, texts = grid[::2], grid[1::2]
    for axes, under, trait in zip(panels.flat, texts.flat, traits, strict=False):
        shown = _feasible(results, trait)
        under.set_ylim(most - 0.5, -0.5)
        # However many there are, each point stands nearer to its stage than to another.
        step = min(0.13, 0.5 / max(len(shown) - 1, 1))
        for place, result in enumerate(shown):
            _fall(axes, result, step * (place - (len(shown) - 1) / 2), arms)
            lost = result["shrinkage"]
            text = f"{signed(lost['value'])} ({bounds(lost)})"
            under.text(0, place, text, va="center", color=colour_of(result, arms))
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_xticks([0, 1, 2], ["best trial", "recount", "report"])
        axes.set_xlim(-0.3, 2.45)
        axes.grid(axis="x", visible=False)
        _panel(axes, trait, shown)
    for unused in [*texts.flat, *panels.flat[max(len(traits), 1) :]]:
        unused.set_axis_off()
    lows, highs = zip(*(axes.get_ylim() for axes in panels[:, 0]), strict=True)
    for first in panels[:, 0]:
        first.set_ylim(min(lows), max(highs))
        first.set_ylabel("delta, points")
        first.set_xlabel("lost from recount to report", loc="left")
    legend_above(figure, cell_handles(results, arms))
    return figure


def perplexity(effects: Sequence[Record], arms: Sequence[str]) -> Figure:
    """Perplexity of neutral text under each vector, as a multiple of the unsteered model's.

    What would make it false: an interval that reaches 1, for then steering leaves other text alone;
    a ratio far above those of other vectors: then this one moves its trait by breaking the model.
    """
    figure = new_figure(WIDTH * 0.72, 0.75 + 0.34 * max(len(effects), 1))
    axes = figure.subplots()
    if not effects:
        empty(axes, "nothing feasible")
        return figure
    for place, row in enumerate(effects):
        colour, ratio = colour_of(row, arms), row["ratio"]
        draw_interval(axes, ratio, place, colour)
        end = ratio["value"] if ratio["upper"] is None else ratio["upper"]
        axes.annotate(
            f"× {ratio['value']:.2f}", (end, place), (7, 0), textcoords="offset points",
            va="center", color=colour,
        )  # fmt: skip
    axes.axvline(1, color=INK, linewidth=0.8)
    labels = [f"{row['vector']}, {row['arm']}, {words(row['method'])}" for row in effects]
    axes.set_yticks(range(len(effects)), labels)
    axes.set_ylim(len(effects) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    ends = [row["ratio"][end] for row in effects for end in ("lower", "value", "upper")]
    over_ratios(axes, [1.0, *(end for end in ends if end is not None)])
    baseline = effects[0]["baseline"]
    axes.set_xlabel(f"perplexity of neutral text, as a multiple of the unsteered {baseline:.1f}")
    return figure


def _against_nulls(
    axes: Axes, result: Record, wrong: Sequence[Record], offset: float, arms: Sequence[str]
) -> None:
    colour = colour_of(result, arms)
    marker = marker_of(result)
    draw_interval(axes, result["delta"], offset, colour, marker)
    for row, family in enumerate(FAMILIES, start=1):
        y = row + offset
        if family == "other traits":
            each = [one["delta"]["value"] for one in wrong if one["delta"] is not None]
        else:
            null = result["nulls"][family]
            each = [one["delta"] for one in null["each"]]
            if null["pooled"] is not None:
                draw_interval(axes, null["pooled"], y, colour, marker, size=4.5, full=False)
        shade, size = (colour, 7.0) if family == "other traits" else (NEUTRAL, 5.0)
        axes.plot(each, [y] * len(each), ".", color=shade, ms=size, mew=0, zorder=3)


def _frontier(axes: Axes, result: Record, floor: float, arms: Sequence[str]) -> None:
    colour = colour_of(result, arms)
    steps = result["frontier"]
    x = [result["baseline_coherence"]["value"], *(step["coherence"]["value"] for step in steps)]
    y = [0.0, *(step["delta"]["value"] for step in steps)]
    dashes, marker = DASHES[result["method"]], marker_of(result)
    axes.plot(x, y, color=colour, linestyle=dashes, marker=marker, ms=3, mew=0)
    for step in steps:
        if step["strength"] == result["strength"]:
            at = ([step["coherence"]["value"]], [step["delta"]["value"]])
            axes.plot(*at, "o", color=colour, mfc="none", ms=9, mew=1.3, zorder=4)
    near_unsteered = result["baseline_coherence"]["value"] - BELOW_BASELINE
    for name, coherence, full in (
        (AT_FLOOR, floor, True),
        (AT_BASELINE, near_unsteered, False),
    ):
        if result[name] is not None:
            draw_interval(
                axes, result[name]["delta"], coherence, colour, "s", size=4.5, edge=1.2, full=full,
                across=False, above=5,
            )  # fmt: skip


def _fall(axes: Axes, result: Record, offset: float, arms: Sequence[str]) -> None:
    colour, marker = colour_of(result, arms), marker_of(result)
    points = [result["first_delta"], result["selection_delta"], result["delta"]["value"]]
    shown = [(at + offset, point) for at, point in enumerate(points) if point is not None]
    axes.plot(*zip(*shown, strict=True), color=colour, linestyle=DASHES[result["method"]])
    axes.plot(*zip(*shown[:-1], strict=True), marker, lw=0, color=colour, mfc=PAPER, ms=5)
    draw_interval(axes, result["delta"], 2 + offset, colour, marker, across=False)


def _arranged(panels: int) -> tuple[int, int]:
    """Rows and columns of so many panels."""
    rows = max(-(-panels // ABREAST), 1)
    return rows, max(-(-panels // rows), 1)


def _panels(traits: Sequence[str], height: float) -> tuple[Figure, list[Axes]]:
    """A legend, and a panel of this height in inches for each trait, all with the same axes."""
    rows, columns = _arranged(len(traits))
    figure = new_figure(WIDTH, 0.6 + rows * height)
    panels = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for at in range(max(len(traits), 1), len(panels)):
        panels[at].set_axis_off()
        panels[at - columns].tick_params(labelbottom=True)
    return figure, panels


def _below(figure: Figure, sentence: str) -> None:
    """A label of the x axis that all panels share, as large as that of one panel."""
    figure.supxlabel(sentence, color=MUTED, size=8.5)


def _lowest(result: Record) -> float:
    """The least coherence of a frontier."""
    steps = result["frontier"] or []
    return min((float(step["coherence"]["value"]) for step in steps), default=100.0)


def _panel(axes: Axes, trait: str, shown: Sequence[Record]) -> None:
    axes.set_title(words(trait))
    if not shown:
        empty(axes, "nothing feasible")


def _feasible(results: Sequence[Record], trait: str) -> list[Record]:
    return [r for r in results if r["trait"] == trait and r["delta"] is not None]


def _count(results: Sequence[Record], trait: str) -> int:
    return max(len(_feasible(results, trait)), 1)


def _wrong(cross: Sequence[Record], result: Record) -> list[Record]:
    """Rows of the wrong-trait null of a result."""
    cell = ("same", result["trait"], result["arm"], result["method"])
    return [r for r in cross if (r["at"], r["scored"], r["arm"], r["method"]) == cell]
