"""The scored answers of one vector on the report questions, and what can be said of them.

Works on scored answers by the names of their settings; reads no file and asks no model. A delta is
the mean rise of answers over the unsteered ones with their seeds. Samples of one question, and of
several settings that are pooled, are averaged first: n counts questions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from traitsteer.maths.frontier import AtCoherence, FrontierStep, delta_at_coherence
from traitsteer.maths.permutation import rank_p_value, sign_flip_p_value
from traitsteer.maths.statistics import (
    cluster_means,
    delta_interval,
    independent_difference_interval,
    mean_interval,
    paired_delta_interval,
    paired_difference_interval,
    score_interval,
    share_interval,
)
from traitsteer.words import scores
from traitsteer.words.records import Interval, ScoredAnswer
from traitsteer.words.results import AT_BASELINE, AT_FLOOR, BELOW_BASELINE
from traitsteer.words.scores import ByQuestion


@dataclass(frozen=True)
class Step:
    """A strength at the chosen layer, and the name of its setting."""

    name: str
    strength: float
    coefficient: float


@dataclass(frozen=True)
class Terms:
    """The parameters that a summary depends on."""

    floor: float
    up_by: float
    missing_at_most: float
    confidence: float
    seed: int


class Evidence:
    """The scored answers of a vector's settings, baseline and nulls; what can be said of them."""

    def __init__(self, answers: Mapping[str, Sequence[ScoredAnswer]], terms: Terms) -> None:
        self.answers, self.terms = answers, terms
        self.trait = {n: scores.by_question(rows, "trait_score") for n, rows in answers.items()}
        self.coherent = {n: scores.by_question(rows, "coherence") for n, rows in answers.items()}
        # Prompted answers are spread over prompts, with more seeds than the unsteered ones have.
        self.risen = {
            name: scores.rises(rows, answers["baseline"])
            for name, rows in answers.items()
            if name not in self.named("prompted")
        }
        self.baseline: ByQuestion = self.trait["baseline"]

    def unsteered(self) -> dict[str, Any]:
        """The baseline, and how many scores are missing in all."""
        confidence = self.terms.confidence
        return {
            "baseline": score_interval(self.baseline, confidence).rounded(),
            "baseline_coherence": score_interval(self.coherent["baseline"], confidence).rounded(),
            "missing": sum(scores.missing(rows) for rows in self.answers.values()),
        }

    def named(self, kind: str) -> list[str]:
        """Names of the settings of one kind."""
        return [name for name in self.answers if name == kind or name.startswith(f"{kind}-")]

    def measured(self, names: Sequence[str]) -> dict[str, Any]:
        """Trait score, delta and coherence of some settings pooled."""
        rises = _pooled(self.risen, names)
        return self._measured(names, delta_interval(rises, self.terms.confidence))

    def _measured(self, names: Sequence[str], delta: Interval) -> dict[str, Any]:
        """The same, beside a delta.

        `coherence_at_worst` is the mean coherence if the answers without a score had none.
        """
        trait, confidence = _pooled(self.trait, names), self.terms.confidence
        coherence = _pooled(self.coherent, names)
        worst = {q: [0.0 if v is None else v for v in values] for q, values in coherence.items()}
        return {
            "trait_score": score_interval(trait, confidence).rounded(),
            "delta": delta.rounded(),
            "coherence": score_interval(coherence, confidence).rounded(),
            "coherence_at_worst": round(mean_interval(worst).value, 4),
        }

    def prompted(self) -> dict[str, Any] | None:
        """What positive system prompts reach without steering, all of them pooled.

        Its delta is that of the means over each question's answers. None where none was given, or
        too many of their answers lack a score.
        """
        names = self.named("prompted")
        rows = [row for name in names for row in self.answers[name]]
        held = names and scores.enough(rows, self.terms.missing_at_most)
        if not held:
            return None
        trait, confidence = _pooled(self.trait, names), self.terms.confidence
        return self._measured(names, paired_delta_interval(trait, self.baseline, confidence))

    def p_value(self) -> float:
        """Of the steered delta, by turning the signs of whole questions."""
        means = cluster_means(self.risen["steered"])
        return round(sign_flip_p_value(means, self.terms.seed), 6)

    def null(self, kind: str, cosines: Mapping[str, float]) -> dict[str, Any]:
        """One kind of null vectors: all of them pooled, each alone, and the vector beside them.

        A null with too many missing scores takes no part and is named; the rank is among those
        that are left. It holds the vector's delta over as many samples of a question as the nulls
        have, since a mean over more of them scatters less. The setting was chosen on other
        questions, so the rank is conditional on that choice. None where the vector has no score
        among those samples.
        """
        asked = self.named(kind)
        names = [name for name in asked if self.enough(name)]
        untold: dict[str, Any] = {
            "pooled": None,
            "each": [],
            "p_value": None,
            "difference": None,
            "missing": [name for name in asked if name not in names],
        }
        if not names:
            return untold
        steered, pooled = self.trait["steered"], _pooled(self.trait, names)
        deltas = [mean_interval(self.risen[name]).value for name in names]
        coherence = [mean_interval(self.coherent[name]).value for name in names]
        confidence = self.terms.confidence
        found = untold | {
            "pooled": delta_interval(_pooled(self.risen, names), confidence).rounded(),
            "each": [
                {
                    "delta": round(delta, 4),
                    "coherence": round(held, 4),
                    "cosine": round(cosines[name], 4),
                }
                for name, delta, held in zip(names, deltas, coherence, strict=True)
            ],
        }
        delta = self._delta_as(names[0])
        if delta is None:
            return found
        return found | {
            "p_value": round(rank_p_value(delta, deltas), 6),
            "difference": paired_difference_interval(steered, pooled, confidence).rounded(),
        }

    def enough(self, name: str) -> bool:
        """Whether so few scores of a setting are missing that it may be judged by the rest.

        Of few answers, those that are left may all lack an unsteered partner with a score.
        """
        return _any(self.risen[name]) and scores.enough(
            self.answers[name], self.terms.missing_at_most
        )

    def both(self, name: str) -> dict[str, Any]:
        """Percent of single answers that hold the floor and show more of the trait than before.

        A mean hides answers that are broken: an answer counts when its own coherence is at the
        floor and its trait score lies `up_by` above that of the unsteered answer with its seed.
        """
        found = {
            question: [
                None
                if rise is None or coherence is None
                else float(rise >= self.terms.up_by and coherence >= self.terms.floor)
                for rise, coherence in zip(risen, self.coherent[name][question], strict=True)
            ]
            for question, risen in self.risen[name].items()
        }
        return share_interval(found, self.terms.confidence).rounded()

    def frontier(self, steps: Sequence[Step]) -> list[dict[str, Any]]:
        """Delta, coherence and share of good answers at every strength."""
        return [
            {"strength": step.strength, "coefficient": step.coefficient}
            | self.measured([step.name])
            | {"both": self.both(step.name)}
            for step in steps
        ]

    def at_equal_coherence(self, steps: Sequence[Step]) -> dict[str, Any]:
        """Delta along the frontier at the floor and a little below the unsteered coherence."""
        taken = [
            FrontierStep(step.strength, self.trait[step.name], self.coherent[step.name])
            for step in steps
        ]
        baseline = FrontierStep(0.0, self.baseline, self.coherent["baseline"])
        seed, confidence = self.terms.seed, self.terms.confidence
        return {
            AT_FLOOR: _read_off(
                delta_at_coherence(taken, baseline, self.terms.floor, seed, confidence)
            ),
            AT_BASELINE: _read_off(
                delta_at_coherence(
                    taken, baseline, lambda held: held - BELOW_BASELINE, seed, confidence
                )
            ),
        }

    def shrinkage(self, selected: ByQuestion) -> dict[str, Any]:
        """How much larger the delta was that the choice rested on: the winner's curse."""
        reported = self.risen["steered"]
        return independent_difference_interval(selected, reported, self.terms.confidence).rounded()

    def _delta_as(self, name: str) -> float | None:
        """The vector's delta over the questions and samples that a null answered, if it has one."""
        answered = {(answer.question, answer.sample) for answer in self.answers[name]}
        same = [a for a in self.answers["steered"] if (a.question, a.sample) in answered]
        rises = scores.rises(same, self.answers["baseline"])
        return mean_interval(rises).value if _any(rises) else None


def _any(values: ByQuestion) -> bool:
    """Whether any value is there."""
    return any(value is not None for samples in values.values() for value in samples)


def _pooled(values: Mapping[str, ByQuestion], names: Sequence[str]) -> ByQuestion:
    """The values of several settings, question by question."""
    return {
        question: [value for name in names for value in values[name][question]]
        for question in values[names[0]]
    }


def _read_off(found: AtCoherence | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"delta": found.delta.rounded(), "strength": round(found.strength, 6)}
