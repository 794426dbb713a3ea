"""Planted answers: scores whose true means are known, to hold the statistics against.

A population of questions: each has a mean of its own, each answer a deviation on top, and the
score is cut to 0-100 as a judge's is. In some regimes steering takes in a part of the answers only;
the others score as unsteered ones do. What is true is the mean delta of the *population* of
questions, of which a study's questions are a random sample; it follows from the normal
distribution cut at both ends, and nothing is simulated to know it.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import norm

from traitsteer.experiment.answering import Questions, Setting
from traitsteer.words.records import ScoredAnswer

Scores = NDArray[np.float64]
"""[questions, samples]."""


def cut_mean(mean: float, deviation: float) -> float:
    """Mean of a normal score that is cut to 0-100."""
    low, high = (0.0 - mean) / deviation, (100.0 - mean) / deviation
    inside = float(norm.cdf(high) - norm.cdf(low))
    edge = float(norm.pdf(low) - norm.pdf(high))
    return 100.0 * float(norm.sf(high)) + mean * inside + deviation * edge


@dataclass(frozen=True)
class Regime:
    """Where on the scale the scores lie, and how they vary between questions and answers."""

    name: str
    unsteered: float
    """Latent mean without steering."""
    steered: float
    """Latent mean of the answers in which steering takes."""
    between: float
    """Standard deviation of question means."""
    within: float
    """Standard deviation of the answers to one question."""
    takes: float = 1.0
    """Mean share of answers in which steering takes."""
    alike: float = 8.0
    """How alike questions are in that share: it is drawn from Beta(takes * alike, ...)."""

    def delta(self) -> float:
        """The true delta of the population of questions."""
        steered, unsteered = self.means()
        return steered - unsteered

    def means(self) -> tuple[float, float]:
        """True mean scores of steered and of unsteered answers."""
        spread = math.hypot(self.between, self.within)
        without = cut_mean(self.unsteered, spread)
        return self.takes * cut_mean(self.steered, spread) + (1 - self.takes) * without, without

    def draw(
        self, generator: np.random.Generator, questions: int, samples: int
    ) -> tuple[Scores, Scores]:
        """Steered and unsteered scores of a random sample of questions."""
        without, missed = (
            self._scores(generator, self.unsteered, questions, samples) for _ in range(2)
        )
        steered = self._scores(generator, self.steered, questions, samples)
        if self.takes < 1.0:
            a, b = self.takes * self.alike, (1.0 - self.takes) * self.alike
            share = generator.beta(a, b, size=(questions, 1))
            steered = np.where(generator.random(steered.shape) < share, steered, missed)
        return steered, without

    def _scores(
        self, generator: np.random.Generator, mean: float, questions: int, samples: int
    ) -> Scores:
        of_question = self.between * generator.standard_normal((questions, 1))
        of_answer = self.within * generator.standard_normal((questions, samples))
        cut: Scores = np.clip(mean + of_question + of_answer, 0.0, 100.0)
        return cut


SHOWS, LACKS = 97.0, 1.0
"""Trait scores of an answer that shows the trait, and of one that does not."""


def trait_mean(share: float) -> float:
    """Mean trait score where so many percent of answers show the trait."""
    return LACKS + (SHOWS - LACKS) * share / 100.0


def shows_trait(share: float, deviate: Scores) -> Scores:
    """Trait scores of answers behind which stand these normal deviates.

    So many percent of all answers show the trait, and every answer does or does not, as a judge's
    scores pile up at both ends; those of one question are as alike as their deviates are.
    """
    return np.where(ndtr(deviate) < share / 100.0, SHOWS, LACKS)


@dataclass(frozen=True)
class Spread:
    """Variances of what a question has in all settings, in one alone, and of a single answer."""

    shared: float
    own: float
    answer: float


OF_TRAIT = Spread(0.2, 0.2, 0.6)
"""Of the deviate behind a trait score; it comes to 1."""
OF_COHERENCE = Spread(36.0, 36.0, 400.0)
"""Of a coherence before it is cut, in squared points."""

Surface = Callable[[int, float], tuple[float, float]]
"""Layer and strength to the percentage of answers that show the trait and to latent coherence;
strength 0 is unsteered."""


def cliff_surface(layer: int, strength: float) -> tuple[float, float]:
    """The trait rises as a sigmoid, most at layer 5; coherence falls off a cliff at 0.82."""
    reach = 80.0 - 4.0 * abs(layer - 5)
    trait = 5.0 + reach / (1.0 + math.exp(-14.0 * (strength - 0.5))) if strength else 5.0
    return trait, 90.0 - 60.0 / (1.0 + math.exp(-20.0 * (strength - 0.82)))


@dataclass
class PlantedBench:
    """Answers as a bench gives them, of a planted surface; the residual norm of a layer is 1.

    A question has an easy or a hard part that all settings share and one for each setting, which
    is what a choice of the best setting is misled by.
    """

    surface: Surface
    seed: int

    def answers(
        self,
        questions: Questions,
        settings: Sequence[Setting],
        samples: int,
        progress: Callable[[int], None],
        only: Sequence[int] | None = None,
        cut_loops: bool = False,
    ) -> list[list[ScoredAnswer]]:
        """For each setting its answers, ordered by question and sample."""
        numbers = range(len(questions.texts)) if only is None else only
        return [
            [
                self._answer(setting, questions.texts[number], number, setting.first_sample + extra)
                for number in numbers
                for extra in range(samples)
            ]
            for setting in settings
        ]

    def delta(self, layer: int, strength: float) -> float:
        """The true delta of a setting over the population of questions."""
        steered, unsteered = (self.surface(layer, at)[0] for at in (strength, 0.0))
        return trait_mean(steered) - trait_mean(unsteered)

    def _answer(self, setting: Setting, text: str, question: int, sample: int) -> ScoredAnswer:
        strength = setting.coefficient
        where = f"{setting.layer} {strength}" if strength else "unsteered"
        shared = self._draw(text)
        own = self._draw(text, where)
        answer = self._draw(text, where, str(sample))
        deviates = [
            math.sqrt(spread.shared) * shared.gauss()
            + math.sqrt(spread.own) * own.gauss()
            + math.sqrt(spread.answer) * answer.gauss()
            for spread in (OF_TRAIT, OF_COHERENCE)
        ]
        share, coherence = self.surface(setting.layer, strength)
        trait = float(shows_trait(share, np.array(deviates[0])))
        coherence = min(max(coherence + deviates[1], 0.0), 100.0)
        return ScoredAnswer(question, sample, 0, "", trait, coherence, 10, "stop")

    def _draw(self, *parts: str) -> random.Random:
        return random.Random("\0".join((str(self.seed), *parts)))
