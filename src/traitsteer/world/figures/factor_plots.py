"""The figures of a factorial study: what each factor adds, and how alike the cells' vectors are.

Every function takes reports/factorial.json.
"""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from traitsteer.words.factor_findings import who
from traitsteer.words.findings import apart
from traitsteer.world.figures.plot_parts import draw_interval, empty, legend_above
from traitsteer.world.figures.plot_style import (
    ARMS,
    INK,
    MUTED,
    NEUTRAL,
    WIDTH,
    Record,
    name_of,
    new_figure,
)

PART, EFFECT = ARMS[0], ARMS[1]
"""The colour of what a factor adds between the two ends, and of its effect over all cells."""

BAND = 0.26
"""Height of the band of a margin, where rows are 1 apart."""


def parts(found: Record) -> Figure:
    """The parts of the difference between the first cell and its opposite, beside the effects.

    A panel for each trait and one for all together; a hollow mark has an interval that holds 0. The
    band behind a mark is its own margin of luck, since a contrast of few cells has a wider one than
    a mean over all of them.
    """
    panels = [*found["traits"], *([found["all"]] if found["all"] else [])]
    names = [factor["name"] for factor in found["factors"]]
    figure = new_figure(WIDTH, 1.25 + 0.42 * len(names))
    row = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, one in zip(row, panels, strict=True):
        axes.set_title(who(one, found))
        if one.get("nothing_feasible"):
            count = f"{len(one['nothing_feasible'])} of {len(found['cells'])}"
            empty(axes, f"nothing feasible in\n{count} cells")
            continue
        whole = one["decompositions"][0]
        effects = {e["factors"][0]: e["effect"] for e in one["effects"] if len(e["factors"]) == 1}
        for place, part in enumerate(whole["parts"]):
            _mark(axes, part["part"], -place + 0.15, PART, "o", part["margin"])
            _mark(axes, effects[part["factor"]], -place - 0.15, EFFECT, "D", one["margin"])
        _mark(axes, whole["whole"], -len(names) + 0.0, INK, "s", whole["margin"])
        axes.axvline(0, color=INK, linewidth=0.8)
    for axes in row:
        axes.set_yticks([-place for place in range(len(names) + 1)], [*names, "whole difference"])
        axes.set_ylim(-len(names) - 0.5, 0.5)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
    figure.supxlabel("points of delta", color=MUTED, fontsize=8.5)
    handles = [
        Line2D([], [], color=PART, marker="o", label="part of the whole difference (Shapley)"),
        Line2D([], [], color=EFFECT, marker="D", label="effect over all cells"),
        Line2D([], [], color=NEUTRAL, alpha=0.3, linewidth=8, label="margin of luck of each"),
    ]
    legend_above(figure, handles)
    return figure


def cosines(found: Record) -> Figure:
    """Cosine of every two cells' vectors, a panel for each trait."""
    panels = found["traits"]
    names = [name_of(cell) for cell in found["cells"]]
    known = [one["cosine"]["matrix"] for one in panels if one["cosine"]]
    lowest = min((value for matrix in known for row in matrix for value in row), default=0.0)
    figure = new_figure(WIDTH, 0.95 + 7.2 / max(len(panels), 2))
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    image = None
    for axes, one in zip(row, panels, strict=True):
        axes.grid(visible=False)
        if one["cosine"] is None:
            axes.set_title(one["trait"])
            empty(axes, "nothing was steered")
            continue
        axes.set_title(f"{one['trait']}, layer {one['cosine']['layer']}")
        image = axes.imshow(one["cosine"]["matrix"], cmap="Purples", vmin=min(lowest, 0), vmax=1)
        axes.set_xticks([])
        axes.set_xlabel("in the order of the rows")
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0, labelcolor=INK, labelsize=7)
        for spine in axes.spines.values():
            spine.set_visible(False)
    if image is not None:
        figure.colorbar(image, ax=list(row), shrink=0.6, label="cosine", pad=0.01)
    return figure


def _mark(
    axes: Axes, interval: Record, y: float, colour: str, marker: str, margin: float | None
) -> None:
    """An interval before the band of its margin of luck, if it has one; the marker is hollow where
    the interval holds 0 or has no limits.
    """
    if margin is not None:
        axes.barh(y, 2 * margin, BAND, -margin, color=NEUTRAL, alpha=0.22, linewidth=0)
    full = apart(interval)
    draw_interval(axes, interval, y, colour, marker, size=5, line=1.6, edge=1.2, full=full)
