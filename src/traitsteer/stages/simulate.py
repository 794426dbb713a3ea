"""simulate: whether the statistics tell the truth, on planted answers and a planted direction.

Needs no study. Writes the tables of docs/statistics.md between their marks and docs/statistics.png
beside it; takes a few minutes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from traitsteer.experiment import recovery, simulation
from traitsteer.experiment.simulated_search import Chosen, searches
from traitsteer.experiment.simulation import (
    LIMIT,
    REGIMES,
    SURFACES,
    Coverage,
    Uniformity,
)
from traitsteer.maths.statistics import (
    mean_interval,
    paired_difference_interval,
    ratio_interval,
    student_interval,
)
from traitsteer.words.config import Config
from traitsteer.words.findings import number, signed
from traitsteer.words.records import Interval, Method
from traitsteer.words.results import BELOW_BASELINE
from traitsteer.world import machine, plots
from traitsteer.world.files import read_text, write_text
from traitsteer.world.marked_page import between_marks
from traitsteer.world.plot_style import save_png, style
from traitsteer.world.progress import progress

PAGE, FIGURE = Path("docs/statistics.md"), Path("docs/statistics.png")
BEGIN, END = "<!-- {name}: written by traitsteer simulate -->", "<!-- end of {name} -->"
TABLES = ("coverage", "p-values", "selection", "recovery", "machine")
QUESTIONS = (20, 40)
T_ALONE = "delta, by t alone"


@dataclass(frozen=True)
class Repeats:
    """How often each statistic is asked."""

    intervals: int = 2000
    frontiers: int = 1000
    p_values: int = 1000
    searches: int = 100
    pairs: int = 200


def run(
    config: Config, sizes: Repeats = Repeats(), page: Path = PAGE, figure: Path = FIGURE
) -> None:
    """Ask every statistic and write what was found.

    Raises:
        TraitsteerError: the page has no place for a table; nothing has been simulated then.
    """
    text = read_text(page)
    for name in TABLES:
        between_marks(text, page, BEGIN.format(name=name), END.format(name=name), "")
    found = list(_coverages(sizes))
    tests = [simulation.uniformity(REGIMES[1], n, sizes.p_values) for n in QUESTIONS]
    tests.append(simulation.rank_uniformity(19, sizes.p_values))
    with progress("simulate searches", sizes.searches, "run") as advance:
        chosen = []
        for one in searches(config, QUESTIONS[0], sizes.searches):
            chosen.append(one)
            advance(1)
    errors = _errors(chosen)
    fit = config.fit
    methods: tuple[Method, ...] = ("mean_difference", "probe")
    planted = [
        one
        for length in recovery.LENGTHS
        for one in recovery.recovered(methods, sizes.pairs, length, fit.penalties, fit.folds, 0)
    ]
    tables = (
        _coverage_table(found),
        _p_value_table(tests),
        _selection_table(errors, chosen),
        _recovery_table(planted, sizes.pairs),
        _made(sizes),
    )
    for name, table in zip(TABLES, tables, strict=True):
        marks = BEGIN.format(name=name), END.format(name=name)
        text = between_marks(text, page, *marks, table)
    with style():
        save_png(
            plots.proof(
                [asdict(one) for one in found if one.statistic != T_ALONE],
                [asdict(one) | {"label": _test_name(one)} for one in tests],
                [{"name": name, "interval": asdict(error)} for name, error in errors.items()],
            ),
            figure,
        )
    write_text(page, text)


def _coverages(sizes: Repeats) -> Iterator[Coverage]:
    """Every interval that a study reports, in every regime, at every number of questions."""
    pairs = [(REGIMES[0], REGIMES[0]), (REGIMES[2], REGIMES[2]), (REGIMES[5], REGIMES[4])]
    pairs += [(REGIMES[8], REGIMES[5]), (REGIMES[6], REGIMES[5])]
    planned = []
    for n in QUESTIONS:
        for regime in (*REGIMES, LIMIT):
            planned.append(("delta", regime.name, n, simulation.deltas(regime, n)))
        for regime in (REGIMES[3], REGIMES[6]):
            draw = simulation.deltas(regime, n, student_interval)
            planned.append((T_ALONE, regime.name, n, draw))
        for name, compare in (
            ("percent of an arm", ratio_interval),
            ("arm minus arm", paired_difference_interval),
        ):
            for one, other in pairs:
                title = f"{one.name} / {other.name}" if one != other else f"both {one.name}"
                planned.append((name, title, n, simulation.arms(one, other, n, compare)))
        for regime in (REGIMES[0], REGIMES[2], REGIMES[3], REGIMES[5], REGIMES[6]):
            planned.append(("shrinkage", regime.name, n, simulation.disjoint(regime, n)))
        for takes in (0.5, 0.9, 0.97):
            title = f"{100 * takes:.0f} % of answers"
            planned.append(("share", title, n, simulation.shares(takes, 8, n)))
        for title, surface in SURFACES.items():
            at = (("at the floor", 70.0), (f"at baseline - {BELOW_BASELINE}", _below_baseline))
            for name, target in at:
                draw = simulation.frontiers(surface, n, target)
                planned.append((f"delta {name}", title, n, draw))
    with progress("simulate intervals", len(planned), "regime") as advance:
        for name, title, n, draw in planned:
            runs = sizes.frontiers if name.startswith("delta at") else sizes.intervals
            yield simulation.coverage(name, title, n, runs, draw)
            advance(1)


def _below_baseline(unsteered: float) -> float:
    return unsteered - BELOW_BASELINE


def _errors(chosen: Sequence[Chosen]) -> dict[str, Interval]:
    """Mean error of each score of a choice, with its interval over searches."""
    named = {
        "best first trial": [one.first for one in chosen],
        "choice, recounted": [one.recount for one in chosen],
        "choice, reported": [one.report for one in chosen],
    }
    return {name: mean_interval(np.array(values)[:, None]) for name, values in named.items()}


def _coverage_table(found: Sequence[Coverage]) -> str:
    """One line a statistic and regime; a column for each number of questions."""
    head = [f"{n} questions: held the truth | below it | above it | width" for n in QUESTIONS]
    lines = [f"| interval | regime | {' | '.join(head)} |", "|---|---|" + "---|" * 4 * len(head)]
    for key in dict.fromkeys((one.statistic, one.regime) for one in found):
        cells = list(key)
        for one in (one for one in found if (one.statistic, one.regime) == key):
            shares = (one.covered, one.below, one.above)
            mark = "" if one.within() else " *"
            held, below, above = (f"{100 * share:.1f} %" for share in shares)
            cells += [held + mark, below, above, number(one.width)]
        lines.append(_row(cells))
    return "\n".join(lines)


def _p_value_table(tests: Sequence[Uniformity]) -> str:
    lines = [
        "| test | runs | at most 0.05 | Kolmogorov-Smirnov distance | its p-value |",
        "|---|---|---|---|---|",
    ]
    for one in tests:
        cells = [f"{100 * one.rejected:.1f} %", f"{one.distance:.3f}", f"{one.p_value:.2f}"]
        lines.append(_row([_test_name(one), str(one.runs), *cells]))
    return "\n".join(lines)


def _selection_table(errors: dict[str, Interval], chosen: Sequence[Chosen]) -> str:
    lines = ["| delta | mean error, points | 95 % interval over searches |", "|---|---|---|"]
    for name, error in errors.items():
        limits = f"{signed(error.lower, 2)} to {signed(error.upper, 2)}"
        lines.append(_row([name, signed(error.value, 2), limits]))
    held = 100 * sum(one.covered for one in chosen) / len(chosen)
    truth = sum(one.truth for one in chosen) / len(chosen)
    said = (
        f"{len(chosen)} searches; the mean true delta of the choices is {signed(truth)}. The "
        f"report interval held the true delta of the choice in {held:.0f} % of them."
    )
    return "\n".join([*lines, "", said])


def _recovery_table(found: Sequence[recovery.Recovered], pairs: int) -> str:
    lines = [
        "| method | length of what was planted | cosine with it | held-out AUROC there "
        "| one layer below | under shuffled labels |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        numbers = (one.cosine, one.auroc, one.before, one.shuffled)
        name = [one.method.replace("_", " "), f"{one.length:g}"]
        lines.append(_row([*name, *(f"{value:.3f}" for value in numbers)]))
    said = (
        f"{pairs} pairs of random token ids in a random model of {recovery.LAYERS} layers of width "
        f"{recovery.WIDTH}; added at layer {recovery.PLANTED}; length in mean norms of that "
        "layer's activations."
    )
    return "\n".join([*lines, "", said])


def _made(sizes: Repeats) -> str:
    found = machine.described()
    return (
        f"Made by `traitsteer simulate` on {found['processor']}, {found['memory']}: "
        f"{sizes.intervals:,} simulated studies for each interval ({sizes.frontiers:,} for each "
        f"frontier), {simulation.SAMPLES} answers to each report question."
    )


def _test_name(one: Uniformity) -> str:
    return f"{one.test}, {one.questions} questions" if one.questions else one.test


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
