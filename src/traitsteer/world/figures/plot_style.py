"""How every figure looks, and how it leaves: as SVG that follows the page's colours, or as PNG.

With plot_parts.py and the files of figures (plots.py, *_plots.py) the one home of matplotlib, whose
functions are all called inside `style()`. A value of None is left out of a figure, never drawn as
zero. Figures are drawn in the light
palette; `inline_svg` exchanges each of its colours for a CSS variable, so that a page in dark mode
redraws nothing. The same data give the same bytes: no dates, no random ids, and the font that
matplotlib ships.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from traitsteer.world.files import replacing

matplotlib.use("Agg")

Record = Mapping[str, Any]
"""A JSON object as its stage wrote it."""

WIDTH = 10.6
"""Inches of a figure as wide as the page."""

COLUMNS = 6
"""Most panels of one row of small multiples."""

INK, MUTED, RULE, NEUTRAL, PAPER = "#1b2027", "#5d6673", "#dfe3e8", "#89929e", "#fefefe"
RISE, FALL = "#8a5cd0", "#2f8f5b"
"""Up and down in the trait score; purple and green stay apart for every kind of colour vision."""

ARMS = (
    "#0a6fb3",
    "#d1590a",
    "#b2487f",
    "#11866a",
    "#8a7a00",
    "#6a4fb0",
    "#a3302f",
    "#3f6f86",
)
"""First arm, second arm and so on: Okabe and Ito's hues, darkened to be read as text, and three."""

NAMED_ARMS = {"instruction": 0, "natural": 1}

VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    NEUTRAL: "--neutral",
    PAPER: "--paper",
    RISE: "--rise",
    FALL: "--fall",
    **{colour: f"--arm-{place}" for place, colour in enumerate(ARMS)},
}

DASHES: dict[str, tuple[int, tuple[float, ...]]] = {
    "mean_difference": (0, ()),
    "probe": (0, (3.2, 1.8)),
}

STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.color": INK,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.edgecolor": NEUTRAL,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": NEUTRAL,
    "ytick.color": NEUTRAL,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.5,
    "lines.markersize": 3.6,
    "hatch.linewidth": 0.6,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
}


def arm_place(arm: str, arms: Sequence[str]) -> int:
    """Which of the arm colours an arm has: the same in every figure and table of a study."""
    if arm in NAMED_ARMS:
        return NAMED_ARMS[arm]
    others = [name for name in arms if name not in NAMED_ARMS]
    return 2 + others.index(arm) % (len(ARMS) - 2)


@contextmanager
def style() -> Iterator[None]:
    """Draw and save inside this block."""
    with matplotlib.rc_context(STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, inches, whose parts find their own places."""
    figure = Figure(figsize=(width, height), layout="constrained")
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(w_pad=0.04, h_pad=0.05)  # type: ignore[call-arg]
    return figure


def inline_svg(figure: Figure, name: str) -> str:
    """Return the figure as an `<svg>` element; `name` keeps its ids apart from other figures'."""
    buffer, canvas = io.StringIO(), FigureCanvasSVG(figure)
    with matplotlib.rc_context({"svg.hashsalt": name}):
        _place(figure)
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    whole = buffer.getvalue()
    svg = whole[whole.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    # Two decimals are a hundredth of a pixel; the rest is weight.
    svg = re.sub(r"(\d+\.\d{2})\d+", r"\1", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return svg.replace("<svg ", '<svg aria-hidden="true" ', 1).strip()


def save_png(figure: Figure, path: Path) -> None:
    """Write the figure on white, at twice the size of the page."""
    canvas = FigureCanvasAgg(figure)
    figure.set(dpi=160, facecolor="white")
    _place(figure)
    with replacing(path) as temporary:
        canvas.print_png(temporary, metadata={"Software": None})


def _place(figure: Figure) -> None:
    """Let the parts of a figure find their places, once; `savefig` would draw it all for that."""
    engine, dpi = figure.get_layout_engine(), figure.dpi
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine("none")
    figure.dpi = dpi  # a canvas that lends its measures leaves its own


def colour_of(record: Record, arms: Sequence[str]) -> str:
    """The colour of the arm that a record is about."""
    return ARMS[arm_place(record["arm"], arms)]


def name_of(record: Record) -> str:
    """Arm and method of a record, in words."""
    return f"{record['arm']}, {words(record['method'])}"


def words(method: str) -> str:
    """The name of a method or trait as people write it."""
    return method.replace("_", " ")
