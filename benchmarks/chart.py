"""The chart: for each work, the time of every contender over ours."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.results import Table

matplotlib.use("Agg")

_OURS, _PEER, _BESIDE, _INK = "#0a6fb3", "#89929e", "#dfe3e8", "#1b2027"


def draw(tables: list[Table], path: Path) -> None:
    """One panel a work, bars on a logarithmic axis, in the order of the table."""
    shown = [table for table in tables if any(row.ratio is not None for row in table.rows)]
    if not shown:
        return
    counts = [sum(row.ratio is not None for row in table.rows) for table in shown]
    height = 0.26 * sum(counts) + 0.62 * len(shown)
    figure = Figure(figsize=(7.2, height), layout="constrained")
    panels = figure.subplots(len(shown), 1, squeeze=False, height_ratios=counts)[:, 0]
    for axes, table in zip(panels, shown, strict=True):
        rows = [row for row in table.rows if row.ratio is not None][::-1]
        ratios = [row.ratio or 0.0 for row in rows]
        colours = [
            _OURS if row.name == "ours" else _BESIDE if row.name == "bare" else _PEER
            for row in rows
        ]
        axes.barh([row.title for row in rows], ratios, color=colours, log=True)
        # Every bar says its number: marks at 1 and its tens are enough.
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        for place, ratio in enumerate(ratios):
            told = f"{ratio:.2g}" if ratio < 100 else f"{ratio:.0f}"
            axes.annotate(f" {told}x", (ratio, place), va="center", fontsize=7, color=_INK)
        axes.axvline(1.0, color=_OURS, linewidth=0.8)
        axes.set_title(table.title, loc="left", fontsize=9, color=_INK)
        axes.set_xlim(min(0.4, *ratios), max(4.0, *ratios) * 1.8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("time over ours (less is better)", fontsize=8)
    figure.savefig(path, dpi=150, metadata={"Software": None})
