"""How good a choice each procedure has made after how many answers, over surfaces and seeds.

After every batch the procedure is stopped in thought: the best settings are recounted and one is
chosen, as at the end of a search. What counts is the choice's delta in the stored answers that the
search could not see, as a share of the best delta that a search may choose: that of the settings
of the whole grid whose coherence in the same answers keeps the margin above the floor. A choice
whose coherence there is below the floor counts as a share of 0. Its cost is all answers asked for,
recount included.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.grid import SEEN, Surface
from benchmarks.search.procedures import Procedure
from benchmarks.search.replay import Replay
from traitsteer.experiment.searching import Search
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError

SEEDS = 20
TARGET = 0.95
BUDGETS = tuple(range(100, 2601, 20))
"""Numbers of answers at which the curves are read."""


@dataclass(frozen=True)
class Stop:
    """What a procedure would have chosen, had it been stopped here."""

    searched: int
    """Answers asked for until here."""
    answers: int
    """The same with the recount."""
    share: float
    """Delta of the choice over the best that keeps the margin; 0 without a feasible choice."""
    chosen: bool
    feasible: bool
    """Whether the choice's mean coherence is at the floor in the answers that were not seen."""
    feasible_elsewhere: bool
    """The same on the report questions."""
    feasible_share: float = 0.0
    """Delta of the choice over the best that is feasible at all."""


def stops(config: Config, surface: Surface, procedure: Procedure, seed: int) -> list[Stop]:
    """One run of a procedure, stopped after each of its batches.

    Raises:
        TraitsteerError: search and recount together ask for more samples than a search may see.
    """
    seen, unseen = surface.split(seed)
    search, bench = procedure.begin(config, seen, seed)
    sizes = search.config.search
    if sizes.samples + sizes.recount_samples > SEEN:
        raise TraitsteerError(
            f"search: {procedure.name} asks for {sizes.samples} samples of a question and "
            f"{sizes.recount_samples} more in the recount; of the grid's, {SEEN} may be seen. Set "
            "search.samples and search.recount_samples lower."
        )
    found = []
    for _ in search.batches(_quiet):
        found.append(_stop(config.study.coherence_floor, unseen, search, bench))
    return found


def every_setting(config: Config, surface: Surface, seed: int) -> Stop:
    """The choice of one who has all that may be seen of every setting; nothing is recounted."""
    seen, unseen = surface.split(seed)
    floor, margin = config.study.coherence_floor, config.search.margin
    able = np.where(seen.feasible(floor, margin), seen.delta(), -np.inf)
    layer, strength = (int(at) for at in np.unravel_index(int(able.argmax()), able.shape))
    answers = seen.trait.size
    if not np.isfinite(able[layer, strength]):
        return Stop(answers, answers, 0.0, False, False, False)
    return _valued(floor, margin, unseen, (layer, strength), answers, answers)


def _quiet(_done: int) -> None:
    return None


def _stop(floor: float, unseen: Surface, search: Search, bench: Replay) -> Stop:
    searched = bench.asked
    _, best = search.recount(_quiet)
    answers, bench.asked = bench.asked, searched
    if best is None:
        return Stop(searched, answers, 0.0, False, False, False)
    place = best["layer"], int(np.abs(unseen.strengths - best["strength"]).argmin())
    return _valued(floor, search.config.search.margin, unseen, place, searched, answers)


def _valued(
    floor: float,
    margin: float,
    unseen: Surface,
    place: tuple[int, int],
    searched: int,
    answers: int,
) -> Stop:
    """What a choice is worth in the answers that were not seen; `place` is layer and strength."""
    feasible = bool(unseen.feasible(floor)[place])
    delta = float(unseen.delta()[place]) if feasible else 0.0
    elsewhere = bool(unseen.report_coherence[place] >= floor)
    share, of_feasible = delta / unseen.best(floor, margin), delta / unseen.best(floor)
    return Stop(searched, answers, share, True, feasible, elsewhere, of_feasible)


@dataclass(frozen=True)
class Summary:
    """What a procedure came to, over all surfaces and seeds."""

    name: str
    answers_median: int | None
    """Fewest answers at which the median share reaches the target; None if it never does."""
    answers_quarter: int | None
    """The same for the 25th percentile."""
    surfaces: int
    """Surfaces whose own median over seeds reaches the target."""
    ends_at: float
    """Median number of answers when the procedure was through."""
    of_which_searched: float
    """How many of these were not the recount's."""
    end_median: float
    end_quarter: float
    end_feasible: float
    """Median share of the best delta that is feasible at all."""
    below: float
    """Of the final choices, the share whose coherence is below the floor in unseen answers."""
    below_elsewhere: float
    """The same on the report questions."""
    median: list[float]
    """Median share at each of BUDGETS."""
    quarter: list[float]


def summary(name: str, runs: Sequence[tuple[str, list[Stop]]]) -> Summary:
    """The figures of one procedure from its runs, each with the name of its surface."""
    curves = np.array([_curve(found) for _, found in runs])
    names = np.array([surface for surface, _ in runs])
    ends = [found[-1] for _, found in runs]
    shares = np.array([end.share for end in ends])
    chosen = [end for end in ends if end.chosen]
    median, quarter = np.quantile(curves, 0.5, axis=0), np.quantile(curves, 0.25, axis=0)
    own = [float(np.median(shares[names == each])) for each in dict.fromkeys(names)]
    return Summary(
        name,
        first(median),
        first(quarter),
        sum(each >= TARGET for each in own),
        float(np.median([end.answers for end in ends])),
        float(np.median([end.searched for end in ends])),
        round(float(np.median(shares)), 4),
        round(float(np.quantile(shares, 0.25)), 4),
        round(float(np.median([end.feasible_share for end in ends])), 4),
        round(_part(not end.feasible for end in chosen), 4),
        round(_part(not end.feasible_elsewhere for end in chosen), 4),
        median.round(4).tolist(),
        quarter.round(4).tolist(),
    )


def _part(yes: Iterable[bool]) -> float:
    marks = list(yes)
    return sum(marks) / len(marks) if marks else 0.0


def _curve(found: Sequence[Stop]) -> NDArray[np.float64]:
    """Share of the last stop that each budget pays for."""
    affordable = [[stop for stop in found if stop.answers <= budget] for budget in BUDGETS]
    return np.array([stops[-1].share if stops else 0.0 for stops in affordable])


def first(curve: NDArray[np.float64], target: float = TARGET) -> int | None:
    """The least budget from which on the curve stays at the target."""
    under = np.flatnonzero(curve < target)
    start = int(under[-1]) + 1 if under.size else 0
    return BUDGETS[start] if start < len(BUDGETS) else None


def compare(
    config: Config,
    surfaces: Sequence[Surface],
    listed: Sequence[Procedure],
    seeds: int,
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Run every procedure on every surface with every seed; yield one record for each procedure."""
    for procedure in listed:
        runs = [
            (surface.name, stops(config, surface, procedure, seed))
            for surface in surfaces
            for seed in range(seeds)
        ]
        end = asdict(summary(procedure.name, runs))
        say(
            f"{procedure.name}: median {end['answers_median']}, quarter {end['answers_quarter']}, "
            f"ends at {end['ends_at']:.0f} answers with {end['end_median']:.3f}"
        )
        yield end


def reference(config: Config, surfaces: Sequence[Surface], seeds: int) -> dict[str, Any]:
    """The record of `every_setting`: what can be reached, and what it costs."""
    runs = [
        (surface.name, [every_setting(config, surface, seed)])
        for surface in surfaces
        for seed in range(seeds)
    ]
    return asdict(summary(f"every setting, {SEEN} answers to each question", runs))
