"""Parts that figures share: intervals, legends, and axes of layers, of ratios and of cosines."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from traitsteer.world.figures.plot_style import (
    DASHES,
    INK,
    MUTED,
    NEUTRAL,
    PAPER,
    Record,
    arm_place,
    colour_of,
    name_of,
)


def empty(axes: Axes, sentence: str) -> None:
    """Say in the middle of a panel why nothing is drawn in it."""
    axes.text(0.5, 0.5, sentence, transform=axes.transAxes, ha="center", va="center", color=MUTED)


def draw_interval(
    axes: Axes,
    interval: Record,
    at: float,
    colour: str,
    marker: str = "o",
    *,
    size: float = 6,
    line: float = 1.3,
    edge: float = 1.0,
    full: bool = True,
    across: bool = True,
    above: int = 2,
) -> None:
    """A value and the line between its limits, along x (across) or y; no line without limits.

    Args:
        at: place on the other axis.
        size, line, edge: of the marker, of the line and of the marker's edge, points.
        full: whether the marker is filled.
        above: order of drawing of the marker.
    """
    ends = [interval["lower"], interval["upper"]]
    value, place = [interval["value"]], [at]
    if None not in ends:
        axes.plot(*((ends, [at, at]) if across else ([at, at], ends)), color=colour, lw=line)
    axes.plot(
        *((value, place) if across else (place, value)), marker, color=colour, ms=size, mew=edge,
        mfc=colour if full else PAPER, zorder=above,
    )  # fmt: skip


def cell_handles(records: Sequence[Record], arms: Sequence[str]) -> list[Line2D]:
    """A handle of a legend for each arm and method, in the order of the arms."""
    cells = {(record["arm"], record["method"]): record for record in records}
    ordered = sorted(cells.values(), key=lambda r: (arm_place(r["arm"], arms), r["method"]))
    return [
        Line2D(
            [], [], color=colour_of(record, arms), linestyle=DASHES[record["method"]],
            label=name_of(record), marker=marker_of(record), ms=5,
        )
        for record in ordered
    ]  # fmt: skip


def marker_of(record: Record) -> str:
    """The marker of the method that a record is about."""
    return "D" if record["method"] == "probe" else "o"


def legend_above(
    figure: Figure,
    handles: Sequence[Line2D],
    loc: Literal["outside upper left", "outside upper right"] = "outside upper left",
) -> None:
    """Name the lines above all panels, in as many rows as their names need; the figure grows."""
    if not handles:
        return
    widths = [0.5 + 0.075 * len(str(handle.get_label())) for handle in handles]
    columns = max(
        (n for n in range(1, len(widths) + 1) if _width(widths, n) <= figure.get_figwidth()),
        default=1,
    )
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + 0.19 * (rows - 1))
    figure.legend(handles=handles, loc=loc, ncols=columns)


def _width(widths: Sequence[float], columns: int) -> float:
    """Inches of a legend of so many columns, which are filled one after the other."""
    rows, longer = divmod(len(widths), columns)
    ends = [place * rows + min(place, longer) for place in range(columns + 1)]
    return sum(max(widths[a:b]) for a, b in pairwise(ends))


def over_layers(axes: Axes) -> None:
    """Whole-numbered ticks for an axis of layers."""
    axes.set_xlabel("layer")
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))


def over_ratios(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers, wide enough for the values and their labels."""
    axes.set_xscale("log")
    ticks = [t for t in (0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 50, 100) if t <= 1.5 * max(values)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(min(0.94, *(0.94 * value for value in values)), 1.35 * max(values))


def cosine_lines(named: Iterable[tuple[str, Sequence[float | None]]], axes: Axes) -> None:
    """Draw the cosine between the arms' vectors at each same layer, a line for each name."""
    named = list(named)
    drawn = [values for _, values in named if any(value is not None for value in values)]
    if not drawn:
        empty(axes, "not computed")
        return
    shades = [INK, MUTED, NEUTRAL] if len(named) > 1 else [INK]
    for place, (name, values) in enumerate(named):
        shown = [(layer, value) for layer, value in enumerate(values) if value is not None]
        axes.plot(
            [layer for layer, _ in shown], [value for _, value in shown], label=name or None,
            color=shades[place % len(shades)], marker="osD^v"[place % 5],
        )  # fmt: skip
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_ylim(min(-0.05, *(v for row in drawn for v in row if v is not None)), 1.03)
    over_layers(axes)
