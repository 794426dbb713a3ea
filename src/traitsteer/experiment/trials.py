"""One tried setting of a search: its scores, and what they say of its feasibility."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from traitsteer.experiment.rungs import Asked
from traitsteer.maths.cliffs import Point
from traitsteer.maths.statistics import cluster_means
from traitsteer.words import scores
from traitsteer.words.records import ScoredAnswer

COLLAPSED = 0.5
"""Part of the floor; with less coherence than that the trait score may have gone too."""

Trial = dict[str, Any]
Answers = Sequence[ScoredAnswer]


def choose(recounted: Sequence[Trial], floor: float, margin: float = 0) -> Trial | None:
    """The largest recounted delta whose coherence is safely at the floor; None if there is none.

    A coherence of exactly the floor falls below it on other questions half of the time, so it must
    lie `margin` standard errors (over questions) above; one whose error is not known does not.
    """
    able = [
        c
        for c in recounted
        if c["delta"] is not None
        and (c["coherence_error"] is not None or margin == 0)
        and c["coherence"] - margin * (c["coherence_error"] or 0.0) >= floor
    ]
    return max(able, key=lambda c: c["delta"], default=None)


def rise(answers: Answers, unsteered: Answers) -> float | None:
    """Mean rise of the trait score over questions, from answers scored on both sides, if any."""
    means = cluster_means(scores.rises(answers, unsteered))
    return float(np.nanmean(means)) if not np.isnan(means).all() else None


def rise_error(answers: Answers, unsteered: Answers) -> float | None:
    """Standard error of `rise` over questions; None where fewer than two of them have a rise."""
    return scores.error_over_questions(scores.rises(answers, unsteered))


def scored(
    point: Point, asked: Asked, unsteered: Answers, floor: float, missing_at_most: float
) -> Trial:
    """Scores of one setting; one given up, or with too many missing scores, has no delta."""
    answers = asked.answers
    trait_score = scores.mean(answers, "trait_score")
    coherence = scores.mean(answers, "coherence")
    error = scores.standard_error(answers, "coherence")
    delta = None
    if not asked.given_up and coherence is not None and scores.enough(answers, missing_at_most):
        delta = rise(answers, unsteered)
    status = "pruned" if asked.given_up else "failed" if delta is None else "complete"
    high = coherence is not None and coherence >= floor
    return {
        "status": status,
        "answers": len(answers),
        "layer": point.layer,
        "strength": point.strength,
        "coefficient": asked.setting.coefficient,
        "trait_score": None if trait_score is None else round(trait_score, 6),
        "coherence": None if coherence is None else round(coherence, 6),
        "coherence_error": None if error is None else round(error, 6),
        "delta": None if delta is None else round(delta, 6),
        "feasible": delta is not None and high,
        "missing": scores.missing(answers),
    }


def chance(trial: Trial, floor: float) -> float:
    """Probability that the true mean coherence of a trial is at the floor.

    A failed trial is judged by the scores that it has; one with too few to tell may be either.
    """
    if trial["status"] == "pruned":
        return 0.0
    if trial["coherence_error"] is None:
        return 0.5
    over, error = trial["coherence"] - floor, trial["coherence_error"]
    return NormalDist().cdf(over / error) if error else float(over >= 0)


def collapsed(trial: Trial, floor: float) -> bool:
    """Whether the trait score may have gone with the coherence; one not known has not collapsed."""
    return trial["coherence"] is not None and bool(trial["coherence"] < COLLAPSED * floor)
