"""Planted answers that vary as those of a finished study do.

Scores are drawn from those that the study has, so that they pile up where its own do. Behind each
score stands a normal deviate; those of one question have a correlation, chosen such that question
means vary as much as the study's do once the part that samples explain is taken out
(`maths.power.variance_components`). That answers to one question are alike leaves the distribution
of single scores as it is, so that the truth is the mean of the stored scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import ndtr, ndtri

from traitsteer.experiment.pairing import by_question, rises
from traitsteer.experiment.planted import Scores
from traitsteer.experiment.results import read_results
from traitsteer.maths.power import Components, variance_components
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.scores import ByQuestion
from traitsteer.world.files import read_jsonl


@dataclass(frozen=True, eq=False)
class ScorePool:
    """Scores to draw from, and how alike those of one question are."""

    scores: NDArray[np.float64]
    """Rising."""
    alike: float
    """Correlation of the deviates behind two answers to one question, 0 to below 1."""

    def draw(self, generator: np.random.Generator, questions: int, samples: int) -> Scores:
        """Scores of a random sample of questions."""
        of_question = generator.standard_normal((questions, 1))
        of_answer = generator.standard_normal((questions, samples))
        behind = ndtr(self.alike**0.5 * of_question + (1 - self.alike) ** 0.5 * of_answer)
        place = (behind * len(self.scores)).astype(np.int64)
        drawn: Scores = self.scores[np.minimum(place, len(self.scores) - 1)]
        return drawn


@dataclass(frozen=True, eq=False)
class Measured:
    """One vector of a study: a population of questions that is like its own."""

    trait: str
    arm: str
    method: str
    steered: ScorePool
    unsteered: ScorePool
    components: Components
    """Of the study's deltas."""

    @property
    def name(self) -> str:
        """What the vector is called in tables."""
        return f"{self.trait}, {self.arm}, {self.method.replace('_', ' ')}"

    def means(self) -> tuple[float, float]:
        """True mean scores of steered and of unsteered answers."""
        return float(self.steered.scores.mean()), float(self.unsteered.scores.mean())

    def delta(self) -> float:
        """The true delta of the population of questions."""
        steered, unsteered = self.means()
        return steered - unsteered

    def draw(
        self, generator: np.random.Generator, questions: int, samples: int
    ) -> tuple[Scores, Scores]:
        """Steered and unsteered scores of a random sample of questions."""
        without = self.unsteered.draw(generator, questions, samples)
        return self.steered.draw(generator, questions, samples), without


def of_study(config: Config) -> dict[str, list[Measured]]:
    """By trait, every vector of the study in params.yaml that has a feasible setting.

    Raises:
        TraitsteerError: the study is not finished, has nothing feasible, or one sample of each
            question.
    """
    found: dict[str, list[Measured]] = {}
    for trait in config.study.traits:
        for arm in config.study.arms:
            for result in read_results(config, trait, arm):
                if result["status"] == "feasible":
                    found.setdefault(trait, []).append(_measured(trait, arm, result["method"]))
    if not found:
        raise TraitsteerError(
            "simulate: the study found nothing feasible, so there is no vector whose scores could "
            "be followed; take a profile with one, such as profiles/pocket.yaml."
        )
    return found


def score_pool(scores: ByQuestion) -> ScorePool:
    """What scores by question tell; missing ones are left out.

    Raises:
        TraitsteerError: fewer than two questions have a score, or none has two.
    """
    wanted = variance_components(scores).between
    rising = np.sort([value for row in scores.values() for value in row if value is not None])
    most = 0.999
    if wanted <= 0.0:
        return ScorePool(rising, 0.0)
    if _between(rising, most) <= wanted:
        return ScorePool(rising, most)
    return ScorePool(
        rising, float(optimize.brentq(lambda a: _between(rising, a) - wanted, 0.0, most))
    )


def _between(rising: NDArray[np.float64], alike: float) -> float:
    """Variance of the true means of questions, of answers so alike."""
    nodes, weights = hermegauss(100)
    weights = weights / weights.sum()
    steps = ndtri(np.arange(1, len(rising)) / len(rising))
    above = ndtr((alike**0.5 * nodes[:, None] - steps) / (1 - alike) ** 0.5)
    means = rising[0] + above @ np.diff(rising)
    return float(weights @ (means - weights @ means) ** 2)


def _measured(trait: str, arm: str, method: str) -> Measured:
    rows = read_jsonl(layout.evaluation(trait, arm) / f"{method}.answers.jsonl")
    steered, unsteered = (_scores(rows, setting) for setting in ("steered", "baseline"))
    components = variance_components(by_question(rises(trait, arm, method)))
    return Measured(trait, arm, method, score_pool(steered), score_pool(unsteered), components)


def _scores(rows: Sequence[Mapping[str, Any]], setting: str) -> ByQuestion:
    found: ByQuestion = {}
    for row in rows:
        if row["setting"] == setting:
            found.setdefault(str(row["question"]), []).append(row["trait_score"])
    return found
