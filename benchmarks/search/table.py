"""The results of the comparison as a table in docs/search.md and as curves beside it."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import optuna

from benchmarks.search.compare import BUDGETS, TARGET, first
from benchmarks.search.grid import Surface
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.findings import MISSING, signed
from traitsteer.world.files import read_text, write_text
from traitsteer.world.marked_page import between_marks

matplotlib.use("Agg")
from matplotlib import pyplot

BEGIN, END = "<!-- {name}: written by python -m {by} -->", "<!-- end of {name} -->"

Record = Mapping[str, Any]


def machine() -> str:
    """What the numbers were made on."""
    cores = len(os.sched_getaffinity(0))
    return f"{cores} {platform.machine()} cores, no GPU; Optuna {optuna.__version__}"


def grid_table(
    surfaces: Sequence[Surface], study: Sequence[Record], floor: float, same_model: bool
) -> str:
    """One line a vector: where the grid's best is, and what the study of today chose.

    `study` holds the results of reports/comparison.json; `same_model` tells whether the grid was
    answered by the model of this checkout. The last lines say what that means for a reader.
    """
    of_today = {f"{r['trait']}/{r['arm']}/{r['method']}": r for r in study}
    close = f"{100 * TARGET:.0f} %"
    lines = [
        "| vector | the grid's best: layer | strength | delta | feasible settings "
        f"| of them within {close} of the best | the study chose: layer | strength "
        "| delta on the report questions |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    places = []
    for surface in surfaces:
        able = np.where(surface.feasible(floor), surface.delta(), -np.inf)
        layer, step = np.unravel_index(int(able.argmax()), able.shape)
        places.append(int(layer))
        best = float(able[layer, step])
        today = of_today.get(surface.name)
        chose = [MISSING] * 3
        if today and today["delta"]:
            chose = [
                str(today["layer"]), f"{today['strength']:g}", signed(today["delta"]["value"])
            ]  # fmt: skip
        cells = [
            surface.name.replace("_", " ").replace("/", ", "),
            str(layer),
            f"{surface.strengths[step]:g}",
            signed(best),
            f"{np.isfinite(able).sum()} of {able.size}",
            str(int((able >= TARGET * best).sum())),
            *chose,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    first = sum(place == 0 for place in places)
    made = "the model of this checkout" if same_model else "an earlier pocket model than today's"
    said = (
        f"The best feasible setting is at layer 0 for {first} of {len(places)} vectors. The grid "
        f"was answered by {made}."
    )
    return "\n".join([*lines, "", said])


def comparison_table(
    records: Sequence[Record],
    reference: Record,
    vectors: int,
    missing: Sequence[tuple[str, str]],
) -> str:
    """One line a procedure; what was not run is listed with how to run it.

    `reference` is the record of who answers every setting, who stops nowhere before the end.
    """
    target = f"{100 * TARGET:.0f} %"
    lines = [
        f"| procedure | answers from which on the median stays at {target} "
        f"| the 25th percentile | vectors of {vectors} whose median ends at {target} or above "
        "| at its end: answers "
        "| of which recount | median share | 25th percentile | median share of the best feasible "
        "| chosen below the floor |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for record in (*records, reference):
        stops = record is not reference
        cells = (
            record["name"],
            _count(first(np.array(record["median"]))) if stops else MISSING,
            _count(first(np.array(record["quarter"]))) if stops else MISSING,
            str(record["surfaces"]),
            f"{record['ends_at']:,.0f}",
            f"{record['ends_at'] - record['of_which_searched']:,.0f}",
            f"{100 * record['end_median']:.1f} %",
            f"{100 * record['end_quarter']:.1f} %",
            f"{100 * record['end_feasible']:.1f} %",
            f"{100 * record['below']:.1f} %",
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"| {name} | {reason} | | | | | | | | |" for name, reason in missing]
    return "\n".join(lines)


def margin_table(records: Sequence[Record]) -> str:
    """One line a margin, of the default alone."""
    lines = [
        "| margin | median share | 25th percentile | median share of the best feasible "
        "| chosen below the floor | below it on the report questions |",
        "|---|---|---|---|---|---|",
    ]
    for record in records:
        cells = [record["name"]]
        cells += [
            f"{100 * record[name]:.1f} %"
            for name in ("end_median", "end_quarter", "end_feasible", "below", "below_elsewhere")
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _count(answers: int | None) -> str:
    return "not reached" if answers is None else f"{answers:,}"


def insert(page: Path, name: str, text: str, by: str = "benchmarks.search") -> None:
    """Put the text between the marks of this name; the page must have them."""
    marks = BEGIN.format(name=name, by=by), END.format(name=name)
    try:
        write_text(page, between_marks(read_text(page), page, *marks, text))
    except TraitsteerError as error:
        raise SystemExit(str(error)) from None


def curves(records: Sequence[Record], path: Path) -> None:
    """Median share of the best delta that a search may choose over the number of answers."""
    figure, axes = pyplot.subplots(figsize=(8, 4.2), layout="constrained")
    for place, record in enumerate(records):
        shown = [(x, 100 * y) for x, y in zip(BUDGETS, record["median"], strict=True) if y > 0]
        axes.plot(
            [x for x, _ in shown],
            [y for _, y in shown],
            linewidth=2.4 if place == 0 else 1.2,
            linestyle=("-", "--", ":")[place // 4 % 3],
            label=record["name"],
        )
    axes.axhline(100 * TARGET, color="0.5", linewidth=0.8)
    axes.set_xscale("log")
    ticks = (300, 500, 700, 1000, 1500, 2500)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(250, BUDGETS[-1])
    axes.set_ylim(0, 103)
    axes.set_xlabel("answers generated, recount included")
    axes.set_ylabel("% of the best delta that a search may choose")
    axes.legend(loc="lower right", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
