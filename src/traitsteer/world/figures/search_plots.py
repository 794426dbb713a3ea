"""The figures of a search: which settings were tried, and what each of them scored.

Every function takes records, JSON objects as their stages wrote them: `search` is
data/search/<trait>/<arm>/<method>.json.
"""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from traitsteer.words.findings import best_by_layer
from traitsteer.world.figures.plot_parts import cosine_lines, legend_above, over_layers
from traitsteer.world.figures.plot_style import (
    COLUMNS,
    DASHES,
    FALL,
    INK,
    MUTED,
    NEUTRAL,
    PAPER,
    RISE,
    RULE,
    WIDTH,
    Record,
    colour_of,
    name_of,
    new_figure,
)

HEATMAPS = 4
"""Most panels of one row of heatmaps, whose cells hold numbers."""


def curves(searches: Sequence[Record], floor: float, arms: Sequence[str]) -> Figure:
    """Trait score over coherence, both against strength: a pair of panels for each layer tried."""
    layers = sorted({t["layer"] for search in searches for t in search["trials"]})
    columns = min(COLUMNS, max(len(layers), 1))
    bands = math.ceil(len(layers) / columns)
    figure = new_figure(WIDTH, 0.45 + 3.0 * bands)
    grid = figure.subplots(2 * bands, columns, sharex=True, sharey=True, squeeze=False)
    for place, layer in enumerate(layers):
        band, column = divmod(place, columns)
        upper, lower = grid[2 * band][column], grid[2 * band + 1][column]
        upper.set_title(f"layer {layer}")
        for search in searches:
            _curve(upper, search, layer, "trait_score", arms)
            _curve(lower, search, layer, "coherence", arms)
        baselines = [s["baseline"]["trait_score"] for s in searches]
        for level in dict.fromkeys(b for b in baselines if b is not None):
            upper.axhline(level, color=NEUTRAL, linewidth=1, linestyle=(0, (1, 1.5)))
        lower.axhspan(-3, floor, color=RULE, alpha=0.55, linewidth=0)
        lower.axhline(floor, color=INK, linewidth=0.9)
        # Panels that share an axis are labelled in the last row alone, which may be far below.
        lower.tick_params(labelbottom=True)
    for band in range(bands):
        grid[2 * band][0].set_ylabel("trait score")
        grid[2 * band + 1][0].set_ylabel("coherence")
        for spare in range(min(len(layers) - band * columns, columns), columns):
            grid[2 * band][spare].set_visible(False)
            grid[2 * band + 1][spare].set_visible(False)
    grid[0][0].set_ylim(-3, 103)
    grid[0][0].set_yticks([0, 50, 100])
    figure.supxlabel("strength: coefficient / mean residual norm of the layer", color=MUTED)
    handles = [
        Line2D([], [], color=colour_of(s, arms), linestyle=DASHES[s["method"]], label=name_of(s))
        for s in searches
    ]
    handles.append(
        Line2D([], [], color=NEUTRAL, linestyle=(0, (1, 1.5)), label="unsteered baseline")
    )
    handles.append(Line2D([], [], color=INK, linewidth=0.9, label=f"coherence floor {floor:g}"))
    legend_above(figure, handles)
    return figure


def heatmap(
    searches: Sequence[Record], strength: tuple[float, float], steps: int, arms: Sequence[str]
) -> Figure:
    """Highest delta of each layer and strength cell, a panel for each arm and method.

    A cell is half of one of `steps` equal parts of the range of strengths.
    """
    low, high = strength
    step = (high - low) / (2 * steps)
    layers = max((search["layers"] for search in searches), default=1)
    columns = min(max(len(searches), 1), HEATMAPS)
    bands = math.ceil(len(searches) / columns) or 1
    figure = new_figure(WIDTH, bands * (1.0 + max(0.27, 0.36 - 0.01 * layers) * layers))
    grid = figure.subplots(bands, columns, sharey=True, squeeze=False)
    panels = [axes for band in grid for axes in band]
    for spare in panels[len(searches) :]:
        spare.set_visible(False)
    for axes, search in zip(panels, searches, strict=False):
        cells: dict[tuple[int, int], list[Record]] = {}
        for trial in search["trials"]:
            column = math.floor((trial["strength"] - low) / step + 0.5)
            cells.setdefault((trial["layer"], column), []).append(trial)
        for (layer, column), trials in cells.items():
            _cell(axes, layer, column, trials)
        best = search["best"]
        if best is not None:
            column = math.floor((best["strength"] - low) / step + 0.5)
            _frame(axes, best["layer"], column)
        title = name_of(search) + ("" if best is not None else "\nnothing feasible")
        axes.set_title(title, color=colour_of(search, arms))
        axes.set_xlim(-0.6, 2 * steps + 0.6)
        axes.set_ylim(-0.6, layers - 0.4)
        named = range(0, 2 * steps + 1, 2)
        axes.set_xticks(list(named), [f"{low + step * c:.2f}" for c in named])
        axes.yaxis.set_major_locator(MaxNLocator(12, integer=True))
        axes.grid(visible=False)
        axes.set_xlabel("strength")
    for band in grid:
        band[0].set_ylabel("layer")
    return figure


def where(
    searches: Sequence[Record], cosine: Sequence[float | None], arms: Sequence[str]
) -> Figure:
    """Best feasible delta of each layer, beside the cosine between the arms' vectors there."""
    figure = new_figure(WIDTH, 2.9)
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    for search in searches:
        points = best_by_layer(search)
        colour = colour_of(search, arms)
        left.plot(
            list(points),
            list(points.values()),
            color=colour,
            linestyle=DASHES[search["method"]],
            marker="o",
            label=name_of(search),
        )
        best = search["best"]
        if best is not None and best["layer"] in points:
            at = points[best["layer"]]
            left.plot([best["layer"]], [at], "o", color=colour, mfc="none", ms=10, mew=1.4)
    layers = max((search["layers"] for search in searches), default=1)
    left.set_xlim(-0.4, layers - 0.6)
    left.axhline(0, color=INK, linewidth=0.8)
    left.set_title("best feasible delta at each layer, points")
    over_layers(left)
    cosine_lines([("", cosine)], right)
    right.set_title("cosine of natural and instruction vector")
    legend_above(figure, [line for line in left.lines if not line.get_label().startswith("_")])
    return figure


def _curve(axes: Axes, search: Record, layer: int, key: str, arms: Sequence[str]) -> None:
    trials = [t for t in search["trials"] if t["layer"] == layer and t[key] is not None]
    trials.sort(key=lambda trial: (trial["strength"], trial["number"]))
    colour = colour_of(search, arms)
    axes.plot(
        [t["strength"] for t in trials], [t[key] for t in trials],
        color=colour, linestyle=DASHES[search["method"]], linewidth=1.2,
    )  # fmt: skip
    for feasible in (True, False):
        some = [t for t in trials if t["feasible"] is feasible]
        axes.plot(
            [t["strength"] for t in some], [t[key] for t in some], "o",
            color=colour, mfc=colour if feasible else PAPER, ms=3.2, mew=0.9,
        )  # fmt: skip
    best = search["best"]
    if best is not None and best["layer"] == layer:
        chosen = [t for t in trials if t["number"] == best["number"]]
        axes.plot(
            [t["strength"] for t in chosen], [t[key] for t in chosen], "o",
            color=INK, mfc="none", ms=9, mew=1.1, zorder=4,
        )  # fmt: skip


def _cell(axes: Axes, layer: int, column: int, trials: Sequence[Record]) -> None:
    feasible = [t["delta"] for t in trials if t["feasible"] and t["delta"] is not None]
    every = [t["delta"] for t in trials if t["delta"] is not None]
    delta = max(feasible or every, default=None)
    corner = (column - 0.48, layer - 0.46)
    if delta is not None:
        shade = min(abs(delta) / 100, 1) * (0.85 if feasible else 0.35)
        tint = {"color": RISE if delta >= 0 else FALL, "alpha": shade, "linewidth": 0}
        axes.add_patch(Rectangle(corner, 0.96, 0.92, **tint))
    axes.add_patch(
        Rectangle(corner, 0.96, 0.92, fill=False, edgecolor=RULE, linewidth=0.6)
        if feasible
        else Rectangle(
            corner, 0.96, 0.92, fill=False, edgecolor=NEUTRAL, linewidth=0, alpha=0.6, hatch="///"
        )
    )
    text = "–" if delta is None else str(round(delta)).replace("-", "−")
    colour = INK if feasible else MUTED
    axes.text(column, layer, text, ha="center", va="center", fontsize=7, color=colour)


def _frame(axes: Axes, layer: int, column: int) -> None:
    box = Rectangle((column - 0.5, layer - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=2)
    box.set_zorder(5)
    axes.add_patch(box)
