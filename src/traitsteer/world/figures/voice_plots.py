"""How the arms' answers sound, one panel a measure: unsteered, instruction and natural.

The figure takes the rows of data/voice.json.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from traitsteer.words.findings import apart, signed
from traitsteer.world.figures.plot_parts import draw_interval, legend_above
from traitsteer.world.figures.plot_style import (
    ARMS,
    INK,
    MUTED,
    NAMED_ARMS,
    NEUTRAL,
    WIDTH,
    Record,
    new_figure,
)

PANELS: tuple[tuple[str, str, tuple[float, float] | None], ...] = (
    ("naturalness", "naturalness, 0 to 100", (0, 100)),
    ("preference", "natural preferred, %", (0, 100)),
    ("coherence", "coherence, 0 to 100", (0, 100)),
    ("announced", "names the trait as its own, %", (0, 100)),
    ("exclamations", "! for each 100 words", None),
    ("repeated", "repeated word sequences, %", None),
    ("moving_type_token", "different words nearby, %", None),
    ("words", "words of an answer", None),
)
"""Name in the rows, title, and limits of what has a whole scale."""
COLOURS = {
    "baseline": NEUTRAL,
    "instruction": ARMS[NAMED_ARMS["instruction"]],
    "natural": ARMS[NAMED_ARMS["natural"]],
}
_ROWS, _COLUMNS = 2, 4
_STEP = 3.9
"""From one trait to the next, in rows of a panel."""


def voice(rows: Sequence[Record]) -> Figure:
    """Every measure of every trait with its interval; bold where the arms are told apart."""
    figure = new_figure(WIDTH, 0.6 + _ROWS * (0.62 + 0.66 * len(rows)))
    panels = figure.subplots(_ROWS, _COLUMNS, sharey=True)
    for number, (axes, (name, title, limits)) in enumerate(zip(panels.flat, PANELS, strict=True)):
        for place, row in enumerate(rows):
            top = -_STEP * place
            if row["status"] != "compared":
                if number % _COLUMNS == 0:
                    _say(axes, top - 1, f"{row['status']}: {' and '.join(row['without'])}")
            elif name == "preference":
                _preference(axes, row["preference"], top)
            else:
                _measure(axes, row["measures"][name], top)
        axes.set_title(title)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        if name == "preference":
            axes.axvline(50, color=INK, linewidth=0.8)
        low, high = limits or (max(0.0, axes.get_xlim()[0]), max(1.0, axes.get_xlim()[1]))
        axes.set_xlim(low - 0.04 * (high - low), high)
        ticks = MaxNLocator(4).tick_values(low, high)
        axes.set_xticks([tick for tick in ticks if low <= tick <= high])
        # Room for the difference at the right of its trait.
        axes.set_xlim(right=high + 0.24 * (high - low))
    panels.flat[0].set_yticks(
        [-_STEP * place - 1 for place in range(len(rows))], [row["trait"] for row in rows]
    )
    panels.flat[0].set_ylim(-_STEP * len(rows) + 1.1, 0.7)
    handles = [
        Line2D([], [], color=colour, marker="o", ms=5.5, lw=2, label=_LABELS[setting])
        for setting, colour in COLOURS.items()
    ]
    figure.supxlabel(
        "at the right: natural minus instruction (of the preference: minus 50), bold where its "
        "interval leaves 0 out", fontsize=8, color=MUTED,
    )  # fmt: skip
    legend_above(figure, handles, "outside upper right")
    return figure


_LABELS = {"baseline": "unsteered", "instruction": "instruction", "natural": "natural"}


def _measure(axes: Axes, measure: Record | None, top: float) -> None:
    if measure is None:
        _say(axes, top - 1, "no score")
        return
    for line, (setting, colour) in enumerate(COLOURS.items()):
        draw_interval(axes, measure[setting], top - line, colour, size=5.5, line=2)
    _difference(axes, measure["difference"], 0.0, top)


def _preference(axes: Axes, preference: Record | None, top: float) -> None:
    if preference is None:
        _say(axes, top - 1, "no score")
        return
    draw_interval(axes, preference["natural"], top - 1, COLOURS["natural"], size=5.5, line=2)
    _difference(axes, preference["natural"], 50.0, top)


def _difference(axes: Axes, interval: Record, even: float, top: float) -> None:
    """Natural minus instruction, or minus an even choice, at the right of the panel."""
    told = apart(interval, even)
    axes.text(
        1, top - 1, signed(interval["value"] - even), transform=axes.get_yaxis_transform(),
        ha="right", va="center", color=INK if told else MUTED, weight="bold" if told else "normal",
    )  # fmt: skip


def _say(axes: Axes, y: float, sentence: str) -> None:
    axes.text(
        0.02, y, sentence, transform=axes.get_yaxis_transform(), va="center", color=MUTED,
        style="italic",
    )  # fmt: skip
