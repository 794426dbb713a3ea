"""Whether the statistics tell the truth: each is asked many times about planted answers.

Questions are a random sample of a population, and a study's interval is for the population's mean.
An interval of 95 % must hold it in 95 % of studies, too seldom and too often being faults alike.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from traitsteer.experiment.measured import Measured
from traitsteer.experiment.planted import (
    OF_COHERENCE,
    OF_TRAIT,
    Regime,
    Surface,
    cliff_surface,
    cut_mean,
    shows_trait,
    trait_mean,
)
from traitsteer.maths.frontier import FrontierStep, delta_at_coherence
from traitsteer.maths.permutation import rank_p_value, sign_flip_p_value
from traitsteer.maths.statistics import (
    independent_difference_interval,
    mean_interval,
    ratio_interval,
    share_interval,
)
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Interval
from traitsteer.words.seeds import seed_for

CONFIDENCE = 0.95
SAMPLES = 4
"""Answers to each report question, as in the profiles."""

REGIMES = (
    Regime("middle of the scale", 30, 60, 15, 15),
    Regime("from the floor to the middle", 2, 60, 12, 15),
    Regime("near the ceiling", 5, 95, 10, 12),
    Regime("at the ceiling", 2, 105, 10, 10),
    Regime("takes in 60 % of answers", 2, 95, 5, 8, 0.6),
    Regime("takes in 90 % of answers", 2, 95, 5, 8, 0.9),
    Regime("takes in 95 % of answers", 2, 97, 5, 5, 0.95),
    Regime("takes in 10 % of answers", 2, 95, 5, 8, 0.1),
    Regime("takes in 85 %, some questions never", 2, 95, 5, 8, 0.85, 1.5),
    Regime("takes in 60 %, questions all or nothing", 2, 95, 5, 8, 0.6, 0.3),
    Regime("takes in 90 %, questions all or nothing", 2, 95, 5, 8, 0.9, 0.3),
)
LIMIT = Regime("takes in 97 % of answers", 2, 97, 5, 5, 0.97)
"""So few failures that 20 questions often show none: no interval can know of what was not seen."""

Population = Regime | Measured
"""Questions whose true mean delta is known."""

Drawn = tuple[Interval | None, float]
"""An estimate with its interval (None: nothing to estimate), and the truth."""


@dataclass(frozen=True)
class Coverage:
    """How often an interval held the truth."""

    statistic: str
    regime: str
    questions: int
    runs: int
    """Those that had an interval."""
    covered: float
    below: float
    """Share of runs whose interval lay below the truth."""
    above: float
    width: float
    """Median width."""

    def within(self) -> bool:
        """Whether it is what it should be, 95 %, or near."""
        return 0.93 <= self.covered <= 0.97


def coverage(
    statistic: str, regime: str, questions: int, runs: int, draw: Callable[[int], Drawn]
) -> Coverage:
    """Ask `draw` with a seed of its own for each run; a missing limit excludes nothing.

    Raises TraitsteerError when no run has an interval.
    """
    below = above = 0
    widths = []
    for run in range(runs):
        found, truth = draw(seed_for(statistic, regime, questions, run))
        if found is None:
            continue
        low = -math.inf if found.lower is None else found.lower
        high = math.inf if found.upper is None else found.upper
        below += high < truth
        above += low > truth
        widths.append(high - low)
    n = len(widths)
    if n == 0:
        raise TraitsteerError(
            f"None of {runs} simulated studies of {statistic}, {regime}, has an interval, expected "
            "one at least; simulate more of them."
        )
    return Coverage(
        statistic, regime, questions, n, 1 - (below + above) / n, below / n, above / n,
        statistics.median(widths),
    )  # fmt: skip


def deltas(
    regime: Population,
    questions: int,
    interval: Callable[[NDArray[np.float64], float], Interval] = mean_interval,
) -> Callable[[int], Drawn]:
    """The delta of a steered setting."""
    truth = regime.delta()

    def draw(seed: int) -> Drawn:
        steered, unsteered = regime.draw(np.random.default_rng(seed), questions, SAMPLES)
        return interval(steered - unsteered, CONFIDENCE), truth

    return draw


def arms(
    one: Population,
    other: Population,
    questions: int,
    compare: Callable[[NDArray[np.float64], NDArray[np.float64], float], Interval],
) -> Callable[[int], Drawn]:
    """Two arms on the same questions with the same unsteered answers: difference or percent."""
    (mine, without), (theirs, _) = one.means(), other.means()
    truth = mine - theirs
    if compare is ratio_interval:
        truth = 100 * (mine - without) / (theirs - without)

    def draw(seed: int) -> Drawn:
        generator = np.random.default_rng(seed)
        steered, unsteered = one.draw(generator, questions, SAMPLES)
        also, _ = other.draw(generator, questions, SAMPLES)
        return compare(steered - unsteered, also - unsteered, CONFIDENCE), truth

    return draw


def disjoint(regime: Population, questions: int) -> Callable[[int], Drawn]:
    """One setting on 20 selection questions and on the report questions: no shrinkage at all."""

    def draw(seed: int) -> Drawn:
        generator = np.random.default_rng(seed)
        (a, b), (c, d) = regime.draw(generator, 20, 2), regime.draw(generator, questions, SAMPLES)
        return independent_difference_interval(a - b, c - d, CONFIDENCE), 0.0

    return draw


def shares(takes: float, alike: float, questions: int) -> Callable[[int], Drawn]:
    """The share of answers in which something happens."""

    def draw(seed: int) -> Drawn:
        generator = np.random.default_rng(seed)
        chance = generator.beta(takes * alike, (1 - takes) * alike, size=(questions, 1))
        happens = generator.random((questions, SAMPLES)) < chance
        return share_interval(happens.astype(np.float64), CONFIDENCE), 100 * takes

    return draw


STRENGTHS = (0.35, 0.5, 0.65, 0.8, 0.95)


def slope_surface(layer: int, strength: float) -> tuple[float, float]:
    """No cliff: trait and coherence go with strength steadily."""
    return 5.0 + 70.0 * strength, 92.0 - 38.0 * strength


def ceiling_surface(layer: int, strength: float) -> tuple[float, float]:
    """The trait is at the ceiling before coherence falls."""
    trait = 2.0 + 96.0 / (1.0 + math.exp(-16.0 * (strength - 0.45))) if strength else 2.0
    return trait, 97.0 - 80.0 / (1.0 + math.exp(-18.0 * (strength - 0.78)))


SURFACES: dict[str, Surface] = {
    "a cliff": cliff_surface,
    "a slope": slope_surface,
    "the ceiling, then a cliff": ceiling_surface,
}


def of_frontiers(share: float, questions: int) -> NDArray[np.float64]:
    """Trait scores [questions, SAMPLES] of one setting of a planted frontier, to see how they vary;
    so many percent of the answers show the trait.
    """
    generator = np.random.default_rng(seed_for("frontiers", questions))
    of_question = (OF_TRAIT.shared + OF_TRAIT.own) ** 0.5 * generator.standard_normal(
        (questions, 1)
    )
    of_answer = OF_TRAIT.answer**0.5 * generator.standard_normal((questions, SAMPLES))
    return shows_trait(share, of_question + of_answer)


def frontiers(
    surface: Surface, questions: int, target: float | Callable[[float], float]
) -> Callable[[int], Drawn]:
    """Delta read off a frontier at one coherence; the truth is read off the true means."""
    parts = (OF_TRAIT, OF_COHERENCE)
    roots = np.sqrt([[one.shared, one.own, one.answer] for one in parts])
    cut = math.sqrt(OF_COHERENCE.shared + OF_COHERENCE.own + OF_COHERENCE.answer)
    latent = np.array([surface(5, strength) for strength in (0.0, *STRENGTHS)])

    def step(strength: float, pair: NDArray[np.float64]) -> FrontierStep:
        trait, coherence = ({str(q): v for q, v in enumerate(part.tolist())} for part in pair)
        return FrontierStep(strength, trait, coherence)

    means = [[trait_mean(share), cut_mean(float(at), cut)] for share, at in latent]
    exact = [
        step(strength, np.array(pair)[:, None, None])
        for strength, pair in zip((0.0, *STRENGTHS), means, strict=True)
    ]
    truth = delta_at_coherence(exact[1:], exact[0], target, seed=0)
    assert truth is not None, "the true frontier crosses the target"

    def draw(seed: int) -> Drawn:
        generator = np.random.default_rng(seed)
        shape = (2, questions, 1)
        shared = generator.standard_normal(shape)
        steps = []
        for strength, pair in zip((0.0, *STRENGTHS), latent, strict=True):
            of_setting = generator.standard_normal(shape)
            of_answer = generator.standard_normal((2, questions, SAMPLES))
            every = (shared, of_setting, of_answer)
            trait, coherence = (
                sum(root * one[place] for root, one in zip(roots[place], every, strict=True))
                for place in range(2)
            )
            coherence = np.clip(pair[1] + coherence, 0.0, 100.0)
            steps.append(step(strength, np.stack((shows_trait(pair[0], trait), coherence))))
        found = delta_at_coherence(steps[1:], steps[0], target, seed, CONFIDENCE, resamples=1000)
        return (None if found is None else found.delta), truth.delta.value

    return draw


@dataclass(frozen=True)
class Uniformity:
    """P-values where there is nothing to find."""

    test: str
    questions: int
    runs: int
    distance: float
    """Kolmogorov and Smirnov's, to the uniform distribution."""
    p_value: float
    """Of that distance."""
    rejected: float
    """Share of p-values of at most 0.05."""
    found: tuple[float, ...]


def uniformity(regime: Regime, questions: int, runs: int) -> Uniformity:
    """P-values of a setting that does nothing: both sides score as unsteered answers do."""
    idle = Regime(regime.name, regime.unsteered, regime.unsteered, regime.between, regime.within)
    found = []
    for run in range(runs):
        seed = seed_for("uniformity", regime.name, questions, run)
        steered, unsteered = idle.draw(np.random.default_rng(seed), questions, SAMPLES)
        found.append(sign_flip_p_value((steered - unsteered).mean(axis=1), seed, resamples=999))
    return _uniformity("sign flips", questions, found)


def rank_uniformity(nulls: int, runs: int) -> Uniformity:
    """P-values of a vector that is one more null vector."""
    found = []
    for run in range(runs):
        generator = np.random.default_rng(seed_for("rank", nulls, run))
        drawn = generator.standard_normal(nulls + 1).tolist()
        # A rank stands for a whole step of the distribution: spread it over that step.
        found.append(rank_p_value(drawn[0], drawn[1:]) - generator.random() / (nulls + 1))
    return _uniformity(f"rank among {nulls} nulls", 0, found)


def _uniformity(test: str, questions: int, found: Sequence[float]) -> Uniformity:
    against = stats.kstest(found, "uniform")
    rejected = sum(value <= 0.05 for value in found) / len(found)
    return Uniformity(
        test, questions, len(found), float(against.statistic), float(against.pvalue), rejected,
        tuple(found),
    )  # fmt: skip
