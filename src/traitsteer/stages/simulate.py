"""simulate: whether the statistics tell the truth, on planted answers and a planted direction.

Reads the evaluations of a finished study: part of what is planted varies as its scores do. Writes
the tables of docs/statistics.md between their marks and docs/statistics.png beside it; takes a few
minutes.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from traitsteer.experiment import measured, recovery, simulation
from traitsteer.experiment.simulated_search import Chosen, searches
from traitsteer.experiment.simulation import (
    LIMIT,
    REGIMES,
    SURFACES,
    Coverage,
    Population,
    Uniformity,
)
from traitsteer.maths.power import Components, variance_components
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
from traitsteer.words.seeds import seed_for
from traitsteer.world import machine
from traitsteer.world.figures import plots
from traitsteer.world.figures.plot_style import save_png, style
from traitsteer.world.files import read_text, write_text
from traitsteer.world.marked_page import between_marks
from traitsteer.world.progress import progress

PAGE, FIGURE = Path("docs/statistics.md"), Path("docs/statistics.png")
BEGIN, END = "<!-- {name}: written by traitsteer simulate -->", "<!-- end of {name} -->"
TABLES = ("spread", "coverage", "p-values", "selection", "recovery", "machine")
QUESTIONS = (10, 20, 40)
MANY = 4000
"""Questions from which the spread of a regime is told."""
REPORTED = 20
"""Report questions after a simulated search, as in the profiles."""
T_ALONE = "delta, by t alone"
PERCENT = "percent of an arm"


@dataclass(frozen=True)
class Repeats:
    """How often each statistic is asked."""

    intervals: int = 2000
    slow: int = 1000
    """Of frontiers and percents, which take longest."""
    p_values: int = 1000
    searches: int = 100
    pairs: int = 200


def run(
    config: Config, sizes: Repeats = Repeats(), page: Path = PAGE, figure: Path = FIGURE
) -> None:
    """Ask every statistic and write what was found.

    Raises:
        TraitsteerError: the page has no place for a table, or the study is not finished; nothing
            has been simulated then.
    """
    text = read_text(page)
    for name in TABLES:
        between_marks(text, page, BEGIN.format(name=name), END.format(name=name), "")
    study = measured.of_study(config)
    found = list(_coverages(sizes, study))
    tests = [simulation.uniformity(REGIMES[1], n, sizes.p_values) for n in QUESTIONS]
    tests.append(simulation.rank_uniformity(19, sizes.p_values))
    with progress("simulate searches", sizes.searches, "run") as advance:
        chosen = []
        for one in searches(config, REPORTED, sizes.searches):
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
        _spread_table(study),
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


def _coverages(
    sizes: Repeats, study: Mapping[str, Sequence[measured.Measured]]
) -> Iterator[Coverage]:
    """Every interval that a study reports, in every regime, at every number of questions."""
    vectors = [one for each in study.values() for one in each]
    of_regimes = ((0, 0), (2, 2), (5, 4), (8, 5), (6, 5))
    pairs: list[tuple[str, Population, Population]] = []
    for first, second in ((REGIMES[one], REGIMES[other]) for one, other in of_regimes):
        title = f"{first.name} / {second.name}" if first != second else f"both {first.name}"
        pairs.append((title, first, second))
    for trait, each in study.items():
        first_of_arm = {vector.arm: vector for vector in reversed(each)}
        for old, new in itertools.combinations(reversed(first_of_arm.values()), 2):
            pairs.append((f"{trait}, {new.arm} / {old.arm}", new, old))
    single: list[Population] = [*REGIMES, LIMIT, *vectors]
    shrunk: list[Population] = [*(REGIMES[at] for at in (0, 2, 3, 5, 6, 9)), *vectors]
    planned = []
    for n in QUESTIONS:
        for regime in single:
            planned.append(("delta", regime.name, n, simulation.deltas(regime, n)))
        for regime in (REGIMES[3], REGIMES[6]):
            draw = simulation.deltas(regime, n, student_interval)
            planned.append((T_ALONE, regime.name, n, draw))
        for name, compare in (
            (PERCENT, ratio_interval),
            ("arm minus arm", paired_difference_interval),
        ):
            for title, one, other in pairs:
                planned.append((name, title, n, simulation.arms(one, other, n, compare)))
        for regime in shrunk:
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
            slow = name.startswith(("delta at", PERCENT))
            runs = sizes.slow if slow else sizes.intervals
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


def _spread_table(study: Mapping[str, Sequence[measured.Measured]]) -> str:
    """How deltas vary between and within questions: in the study, and in what is planted."""
    lines = [
        "| deltas of | mean | standard deviation between questions | between answers to one |",
        "|---|---|---|---|",
    ]
    vectors = [one for each in study.values() for one in each]
    lines += [_spread_row(f"the study: {one.name}", one.delta(), one.components) for one in vectors]
    single: list[Population] = [*vectors, *REGIMES, LIMIT]
    for regime in single:
        generator = np.random.default_rng(seed_for("spread", regime.name))
        steered, unsteered = regime.draw(generator, MANY, simulation.SAMPLES)
        rows = {str(n): row for n, row in enumerate((steered - unsteered).tolist())}
        parts = variance_components(rows)
        lines.append(_spread_row(f"planted: {regime.name}", regime.delta(), parts))
    answers = simulation.of_frontiers(50.0, MANY)
    parts = variance_components({str(n): row for n, row in enumerate(answers.tolist())})
    lines.append(_spread_row("planted: frontiers and searches", float(answers.mean()), parts))
    return "\n".join(lines)


def _spread_row(name: str, mean: float, parts: Components) -> str:
    deviations = (number(part**0.5) for part in (parts.between, parts.within))
    return _row([name, signed(mean), *deviations])


def _coverage_table(found: Sequence[Coverage]) -> str:
    """One line a statistic and regime; two columns for each number of questions."""
    head = [f"{n} questions: held the truth (below it, above it) | width" for n in QUESTIONS]
    lines = [f"| interval | regime | {' | '.join(head)} |", "|---|---|" + "---|" * 2 * len(head)]
    for key in dict.fromkeys((one.statistic, one.regime) for one in found):
        cells = list(key)
        for one in (one for one in found if (one.statistic, one.regime) == key):
            shares = (one.covered, one.below, one.above)
            mark = "" if one.within() else " *"
            held, below, above = (f"{100 * share:.1f}" for share in shares)
            cells += [f"{held} %{mark} ({below}, {above})", number(one.width)]
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
        f"{sizes.intervals:,} simulated studies for each interval ({sizes.slow:,} for each "
        f"frontier and percent), {simulation.SAMPLES} answers to each report question."
    )


def _test_name(one: Uniformity) -> str:
    return f"{one.test}, {one.questions} questions" if one.questions else one.test


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
