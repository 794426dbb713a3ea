"""The figures of vectors and of results: how far they moved a trait, and how alike they are.

Every function takes records, JSON objects as their stages wrote them: `result` is
data/evaluation/<trait>/<arm>/<method>.json, `vector` models/vectors/<trait>/<arm>/<method>.json.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator

from traitsteer.words.findings import signed
from traitsteer.world.figures.plot_parts import (
    cosine_lines,
    draw_interval,
    empty,
    legend_above,
    over_layers,
)
from traitsteer.world.figures.plot_style import (
    ARMS,
    DASHES,
    INK,
    MUTED,
    NEUTRAL,
    PAPER,
    RULE,
    WIDTH,
    Record,
    arm_place,
    colour_of,
    name_of,
    new_figure,
)


def forest(results: Sequence[Record], chosen: Sequence[Record], arms: Sequence[str]) -> Figure:
    """Delta with its interval for every result, and the random vectors' right under it."""
    traits = list(dict.fromkeys(row["trait"] for row in results))
    figure = new_figure(WIDTH, 0.55 + 0.46 * max(len(results), 1) + 0.2 * len(traits))
    axes = figure.subplots()
    place = 0.0
    ticks: list[float] = []
    labels: list[str] = []
    for trait in traits:
        rows = [row for row in results if row["trait"] == trait]
        ticks.append(place)
        labels.append(trait)
        for row in rows:
            place -= 1
            colour = colour_of(row, arms)
            ticks.append(place)
            labels.append(name_of(row))
            if row["delta"] is None:
                axes.annotate(
                    "nothing feasible", (0, place), (7, 0), textcoords="offset points",
                    va="center", color=MUTED, style="italic", annotation_clip=False,
                )  # fmt: skip
                continue
            best = any(row is other for other in chosen)
            _bar(axes, row["delta"], place + 0.12, colour, full=best)
            if row["random"]:
                _bar(axes, row["random"], place - 0.22, NEUTRAL, full=False, small=True)
        place -= 1.25
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(ticks, labels)
    for label in axes.get_yticklabels():
        if label.get_text() in traits:
            label.set_fontweight("bold")
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.07)
    if all(row["delta"] is None for row in results):
        axes.set_xlim(-5, 100)
    axes.set_ylim(place + 0.5, 0.6)
    axes.set_xlabel("delta of the trait score on the report questions, points")
    handles = [
        Line2D([], [], color=ARMS[arm_place(arm, arms)], marker="o", ms=6.5, lw=2.2, label=arm)
        for arm in arms
    ]
    handles.append(
        Line2D([], [], color=NEUTRAL, marker="o", mfc=PAPER, ms=3.5, lw=1.2, label="random vectors")
    )
    legend_above(figure, handles, "outside upper right")
    return figure


def cosine(comparisons: Sequence[Record]) -> Figure:
    """The cosine by layer of every trait in one panel."""
    figure = new_figure(6.0, 3.2)
    axes = figure.subplots()
    cosine_lines([(c["trait"], c["cosine_by_layer"] or []) for c in comparisons], axes)
    axes.set_title("cosine of the natural and the instruction vector")
    if len(comparisons) > 0 and axes.lines:
        axes.legend(loc="best")
    return figure


RELIABILITY: tuple[tuple[str, str, float, float | None], ...] = (
    ("held_out_auroc", "held-out AUROC", 0.45, 0.5),
    ("pair_agreement", "pairs that agree, held out", 0.45, 0.5),
    ("split_half_cosine", "cosine between halves of the pairs", -0.05, 0.0),
    ("seed_cosine", "cosine between samples", -0.05, 0.0),
    ("largest_share", "squared norm in 3 dimensions", 0.0, None),
    ("raw_norm", "raw norm (log scale)", 0.0, None),
)
"""Of each panel its key and title, the least value that is always shown, and what chance gives."""


def reliability(vectors: Sequence[Record], arms: Sequence[str]) -> Figure:
    """What is known of a direction before it is steered with, by layer.

    Dotted: what chance gives. A ring marks a layer of whose vector a few massive dimensions carry
    a large share.
    """
    figure = new_figure(WIDTH, 4.7)
    for axes, (key, title, least, chance) in zip(
        figure.subplots(2, 3, sharex=True).flat, RELIABILITY, strict=True
    ):
        drawn = [vector for vector in vectors if vector[key] is not None]
        for vector in drawn:
            axes.plot(
                vector[key], color=colour_of(vector, arms), linestyle=DASHES[vector["method"]],
                marker="o",
            )  # fmt: skip
        for vector in drawn if key == "largest_share" else ():
            for layer in vector["massive"]:
                axes.plot(layer, vector[key][layer], "o", ms=9, mfc="none", color=INK, mew=1.1)
        axes.set_title(title)
        over_layers(axes)
        axes.xaxis.label.set_visible(axes.get_subplotspec().is_last_row())
        if not drawn:
            empty(axes, "not computed")
        elif key == "raw_norm":
            axes.set_yscale("log")
            axes.minorticks_off()
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        else:
            lowest = min(value for vector in drawn for value in vector[key])
            axes.set_ylim(min(least, lowest - 0.03), 1.03)
        if chance is not None:
            axes.axhline(chance, color=NEUTRAL, linewidth=1, linestyle=(0, (1, 1.5)))
    handles = [
        Line2D([], [], color=colour, linestyle=dashes, marker="o", label=name)
        for name, colour, dashes in dict.fromkeys(
            (name_of(v), colour_of(v, arms), DASHES[v["method"]]) for v in vectors
        )
    ]
    legend_above(figure, handles, "outside upper right")
    return figure


def proof(
    coverages: Sequence[Record], p_values: Sequence[Record], errors: Sequence[Record]
) -> Figure:
    """How often intervals held the truth, p-values of nothing, and what choosing does to a delta.

    `coverages` have a statistic, a regime, questions, runs and the share `covered`; `p_values` a
    test, questions and what was `found`; `errors` a name and an interval.
    """
    rows = list(dict.fromkeys((one["statistic"], one["regime"]) for one in coverages))
    figure = new_figure(WIDTH, 0.9 + 0.21 * len(rows))
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.9, 1.0))[0]
    axes = left.subplots()
    axes.axvspan(93, 97, color=RULE, alpha=0.7, linewidth=0)
    axes.axvline(95, color=INK, linewidth=0.8)
    sizes = sorted({one["questions"] for one in coverages})
    for one in coverages:
        place = -rows.index((one["statistic"], one["regime"]))
        shift = 0.16 - 0.32 * sizes.index(one["questions"]) / max(len(sizes) - 1, 1)
        colour, share = ARMS[sizes.index(one["questions"])], one["covered"]
        error = 196 * (share * (1 - share) / one["runs"]) ** 0.5
        axes.plot(
            [100 * share - error, 100 * share + error], [place + shift] * 2, color=colour, lw=1.2
        )
        axes.plot(100 * share, place + shift, "o", color=colour, ms=4)
    axes.set_yticks([-place for place in range(len(rows))], [f"{a}: {b}" for a, b in rows])
    axes.grid(axis="y", visible=False)
    axes.set_ylim(-len(rows) + 0.4, 0.6)
    axes.set_title("intervals that hold the truth, %")
    handles = [
        Line2D([], [], color=ARMS[place], marker="o", ms=4, label=f"{size} questions")
        for place, size in enumerate(sizes)
    ]
    left.legend(handles=handles, loc="outside lower right", ncols=len(handles))
    upper, lower = right.subplots(2, 1)
    upper.plot([0, 1], [0, 1], color=INK, linewidth=0.8)
    for place, one in enumerate(p_values):
        found = sorted(one["found"])
        share = [(n + 1) / len(found) for n in range(len(found))]
        upper.plot(found, share, color=ARMS[place], lw=1.2, label=one["label"])
    upper.legend(loc="upper left")
    upper.set_title("p-values of no effect")
    upper.set_xlabel("p-value")
    upper.set_ylabel("share at most that")
    for place, one in enumerate(errors):
        _bar(lower, one["interval"], -place, ARMS[place], full=True)
    lower.axvline(0, color=INK, linewidth=0.8)
    lower.set_yticks([-place for place in range(len(errors))], [one["name"] for one in errors])
    lower.set_ylim(-len(errors) + 0.5, 0.5)
    lower.grid(axis="y", visible=False)
    lower.margins(x=0.25)
    lower.set_title("error of the delta, points")
    return figure


def _bar(
    axes: Axes, interval: Record, y: float, colour: str, full: bool, small: bool = False
) -> None:
    value, upper = interval["value"], interval["upper"]
    size, line = (3.5, 1.2) if small else (6.5, 2.2)
    draw_interval(axes, interval, y, colour, size=size, line=line, edge=1.3, full=full)
    if not small:
        end = upper if upper is not None else value
        axes.annotate(
            signed(value), (end, y), (7, 0), textcoords="offset points", va="center", color=colour,
            weight="bold" if full else "normal",
        )  # fmt: skip
