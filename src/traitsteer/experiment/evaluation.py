"""What the answers to the report questions say of one vector: intervals, nulls, ceiling, frontier.

Works on scored answers by the names of their settings; reads no file and asks no model. Samples of
one question, and of several settings that are pooled, are averaged first: n counts questions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from traitsteer.maths.frontier import AtCoherence, FrontierStep, delta_at_coherence
from traitsteer.maths.permutation import rank_p_value, sign_flip_p_value
from traitsteer.maths.statistics import (
    independent_difference_interval,
    mean_interval,
    paired_difference_interval,
    paired_differences,
    share_interval,
)
from traitsteer.words import scores
from traitsteer.words.records import ScoredAnswer
from traitsteer.words.results import (
    AT_BASELINE,
    AT_FLOOR,
    BELOW_BASELINE,
    EQUAL_COHERENCE,
    NULL_KINDS,
)

Values = dict[str, list[float | None]]
"""Question to the values of its samples."""

CHOSEN = ("layer", "strength", "coefficient")


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


def steps_of(best: Mapping[str, Any], ladder: Sequence[float]) -> list[Step]:
    """The strengths of the frontier, the chosen one among them, rising."""
    steps = [Step("steered", best["strength"], best["coefficient"])]
    for multiple in ladder:
        strength = round(multiple * best["strength"], 6)
        coefficient = round(multiple * best["coefficient"], 6)
        steps.append(Step(f"frontier-{strength:g}", strength, coefficient))
    return sorted(steps, key=lambda step: step.strength)


def recounted(rows: Sequence[Mapping[str, Any]], number: int) -> Values:
    """Rise of the chosen trial over the baseline when both were recounted, by selection question.

    `rows` are all scores of its search; an answer's partner has its question and sample.
    """
    of_trial = [row for row in rows if (row["phase"], row["trial"]) == ("confirm", number)]
    partners = {(r["question"], r["sample"]): r for r in rows if r["phase"] == "baseline"}
    found: Values = {}
    for row in of_trial:
        partner = partners[row["question"], row["sample"]]
        rise = _minus(row["trait_score"], partner["trait_score"])
        found.setdefault(str(row["question"]), []).append(rise)
    return found


class Evidence:
    """The scored answers of a vector's settings, baseline and nulls; what can be said of them."""

    def __init__(self, answers: Mapping[str, Sequence[ScoredAnswer]], terms: Terms) -> None:
        self.answers, self.terms = answers, terms
        self.trait = {n: scores.by_question(rows, "trait_score") for n, rows in answers.items()}
        self.coherent = {n: scores.by_question(rows, "coherence") for n, rows in answers.items()}
        self.baseline: Values = self.trait["baseline"]

    def unsteered(self) -> dict[str, Any]:
        """The baseline, and how many scores are missing in all."""
        confidence = self.terms.confidence
        return {
            "baseline": mean_interval(self.baseline, confidence).rounded(),
            "baseline_coherence": mean_interval(self.coherent["baseline"], confidence).rounded(),
            "missing": sum(scores.missing(rows) for rows in self.answers.values()),
        }

    def named(self, kind: str) -> list[str]:
        """Names of the settings of one kind."""
        return [name for name in self.answers if name == kind or name.startswith(f"{kind}-")]

    def measured(self, names: Sequence[str]) -> dict[str, Any]:
        """Trait score, delta and coherence of some settings pooled."""
        trait, confidence = _pooled(self.trait, names), self.terms.confidence
        delta = paired_difference_interval(trait, self.baseline, confidence)
        coherence = mean_interval(_pooled(self.coherent, names), confidence)
        return {
            "trait_score": mean_interval(trait, confidence).rounded(),
            "delta": delta.rounded(),
            "coherence": coherence.rounded(),
        }

    def prompted(self) -> dict[str, Any] | None:
        """What positive system prompts reach without steering; None where none was given."""
        names = self.named("prompted")
        return self.measured(names) if names else None

    def p_value(self) -> float:
        """Of the steered delta, by turning the signs of whole questions."""
        rises = paired_differences(self.trait["steered"], self.baseline)
        return round(sign_flip_p_value(rises, self.terms.seed), 6)

    def null(self, kind: str, cosines: Mapping[str, float]) -> dict[str, Any]:
        """One kind of null vectors: all of them pooled, each alone, and the vector beside them."""
        names, steered = self.named(kind), self.trait["steered"]
        pooled = _pooled(self.trait, names)
        deltas = [self._delta(name) for name in names]
        coherence = [mean_interval(self.coherent[name]).value for name in names]
        return {
            "pooled": paired_difference_interval(
                pooled, self.baseline, self.terms.confidence
            ).rounded(),
            "each": [
                {
                    "delta": round(delta, 4),
                    "coherence": round(held, 4),
                    "cosine": round(cosines[name], 4),
                }
                for name, delta, held in zip(names, deltas, coherence, strict=True)
            ],
            "p_value": round(rank_p_value(self._delta("steered"), deltas), 6),
            "difference": paired_difference_interval(
                steered, pooled, self.terms.confidence
            ).rounded(),
        }

    def both(self, name: str) -> dict[str, Any]:
        """Percent of single answers that hold the floor and show more of the trait than before.

        A mean hides answers that are broken: an answer counts when its own coherence is at the
        floor and its trait score lies `up_by` above that of the unsteered answer with its seed.
        """
        partners = {(a.question, a.sample): a for a in self.answers["baseline"]}
        found: Values = {}
        for answer in self.answers[name]:
            partner = partners[answer.question, answer.sample]
            rise = _minus(answer.trait_score, partner.trait_score)
            good = None
            if rise is not None and answer.coherence is not None:
                good = float(rise >= self.terms.up_by and answer.coherence >= self.terms.floor)
            found.setdefault(str(answer.question), []).append(good)
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

    def shrinkage(self, selected: Values) -> dict[str, Any]:
        """How much larger the delta was that the choice rested on: the winner's curse."""
        reported = paired_differences(self.trait["steered"], self.baseline)[:, None]
        return independent_difference_interval(selected, reported, self.terms.confidence).rounded()

    def _delta(self, name: str) -> float:
        return paired_difference_interval(self.trait[name], self.baseline).value


MEASURED = (
    "selection_delta",
    "first_delta",
    "shrinkage",
    "trait_score",
    "delta",
    "coherence",
    "p_value",
    "both",
    "random",
    "random_each",
    "nulls",
    "frontier",
    "frontier_missing",
    *EQUAL_COHERENCE,
)
"""What only a feasible setting has."""


def summary(
    found: Mapping[str, Any],
    searched: Sequence[Mapping[str, Any]],
    answers: Mapping[str, Sequence[ScoredAnswer]],
    cosines: Mapping[str, float],
    ladder: Sequence[float],
    terms: Terms,
) -> dict[str, Any]:
    """Everything that is reported of one vector, as JSON values.

    Args:
        found: its search, and `searched` every score of it.
        answers: by setting: baseline, steered, nulls, prompted, frontier; without a feasible
            setting baseline and prompted alone.
        cosines: between each null vector and the vector, by setting. Shuffled labels may by chance
            still name the direction in which responses differ most.
    """
    evidence, best = Evidence(answers, terms), found["best"]
    result = {
        "status": "feasible" if best else "nothing feasible",
        **evidence.unsteered(),
        **dict.fromkeys((*CHOSEN, *MEASURED)),
        "prompted": evidence.prompted(),
    }
    if best is None:
        return result
    # Far above the cliff a judge may find nothing to score.
    steps, lost = steps_of(best, ladder), []
    for step in list(steps):
        if not scores.enough(answers[step.name], terms.missing_at_most):
            steps.remove(step)
            lost.append(step.strength)
    [first] = [trial for trial in found["trials"] if trial["number"] == best["number"]]
    nulls = {kind: evidence.null(kind, cosines) for kind in NULL_KINDS}
    return result | {
        **{name: best[name] for name in CHOSEN},
        "selection_delta": best["delta"],
        "first_delta": first["delta"],
        "shrinkage": evidence.shrinkage(recounted(searched, best["number"])),
        **evidence.measured(["steered"]),
        "p_value": evidence.p_value(),
        "both": evidence.both("steered"),
        "random": nulls["random"]["pooled"],
        "random_each": nulls["random"]["each"],
        "nulls": nulls,
        "frontier": evidence.frontier(steps),
        "frontier_missing": lost,
        **evidence.at_equal_coherence(steps),
    }


def _pooled(values: Mapping[str, Values], names: Sequence[str]) -> Values:
    """The values of several settings, question by question."""
    return {
        question: [value for name in names for value in values[name][question]]
        for question in values[names[0]]
    }


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _read_off(found: AtCoherence | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"delta": found.delta.rounded(), "strength": round(found.strength, 6)}
