"""All that is reported of one vector, from its search and its answers to the report questions."""

from collections.abc import Mapping, Sequence
from typing import Any

from traitsteer.experiment.evidence import Evidence, Step, Terms
from traitsteer.words.records import ScoredAnswer
from traitsteer.words.results import EQUAL_COHERENCE, NULL_KINDS
from traitsteer.words.scores import ByQuestion, differences

CHOSEN = ("layer", "strength", "coefficient")


def steps_of(best: Mapping[str, Any], ladder: Sequence[float]) -> list[Step]:
    """The strengths of the frontier, the chosen one among them, rising."""
    steps = [Step("steered", best["strength"], best["coefficient"])]
    for multiple in ladder:
        strength = round(multiple * best["strength"], 6)
        coefficient = round(multiple * best["coefficient"], 6)
        steps.append(Step(f"frontier-{strength:g}", strength, coefficient))
    return sorted(steps, key=lambda step: step.strength)


def recounted(rows: Sequence[Mapping[str, Any]], number: int) -> ByQuestion:
    """Rise of the chosen trial over the baseline when both were recounted, by selection question.

    `rows` are all scores of its search; an answer's partner has its question and sample.
    """
    of_trial = [row for row in rows if (row["phase"], row["trial"]) == ("recount", number)]
    baseline = [row for row in rows if row["phase"] == "baseline"]
    sides = (
        {(row["question"], row["sample"]): row["trait_score"] for row in side}
        for side in (of_trial, baseline)
    )
    return differences(*sides)


MEASURED = (
    "selection_delta",
    "first_delta",
    "shrinkage",
    "trait_score",
    "delta",
    "coherence",
    "coherence_at_worst",
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
        if not evidence.enough(step.name):
            steps.remove(step)
            lost.append(step.strength)
    first = [trial["delta"] for trial in found["trials"] if trial["feasible"]]
    nulls = {kind: evidence.null(kind, cosines) for kind in NULL_KINDS}
    return result | {
        **{name: best[name] for name in CHOSEN},
        "selection_delta": best["delta"],
        "first_delta": max(first, default=None),
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
