"""Means over the scored answers of one setting: questions are the clusters, samples lie in them."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import ScoredAnswer

Score = Literal["trait_score", "coherence"]
ByQuestion = dict[str, list[float | None]]
"""Question to a value of each of its samples; None is missing."""
BySample = Mapping[tuple[int, int], float | None]
"""Question and sample to a value; None is missing."""


def by_question(answers: Iterable[ScoredAnswer], score: Score) -> ByQuestion:
    """The scores of each question, in the order of the samples; missing scores stay None."""
    found: ByQuestion = {}
    for answer in answers:
        found.setdefault(str(answer.question), []).append(getattr(answer, score))
    return found


def rises(answers: Iterable[ScoredAnswer], unsteered: Iterable[ScoredAnswer]) -> ByQuestion:
    """Trait score of each answer over that of the unsteered one to its question with its seed.

    Missing where either is missing, so that what is left of the two sides are the same samples.
    """
    sides = ({(a.question, a.sample): a.trait_score for a in rows} for rows in (answers, unsteered))
    return differences(*sides)


def differences(one: BySample, other: BySample) -> ByQuestion:
    """`one - other` for every sample of `one`, those of a question together."""
    found: ByQuestion = {}
    for (question, sample), value in one.items():
        difference = minus(value, other[question, sample])
        found.setdefault(str(question), []).append(difference)
    return found


def minus(one: float | None, other: float | None) -> float | None:
    """`one - other`; None where either is missing."""
    return None if one is None or other is None else one - other


def mean(answers: Sequence[ScoredAnswer], score: Score) -> float | None:
    """Mean over questions of the mean over their samples; None when every score is missing."""
    means = _means(by_question(answers, score))
    return sum(means) / len(means) if means else None


def standard_error(answers: Sequence[ScoredAnswer], score: Score) -> float | None:
    """Standard error of `mean` over questions; None with fewer than two scored questions."""
    return error_over_questions(by_question(answers, score))


def error_over_questions(values: ByQuestion) -> float | None:
    """Standard error of the mean over questions; None with fewer than two that have a value."""
    means = _means(values)
    return statistics.stdev(means) / math.sqrt(len(means)) if len(means) > 1 else None


def enough(answers: Sequence[ScoredAnswer], missing_at_most: float) -> bool:
    """Whether so few scores are missing that the setting may be judged by the rest, if any."""
    lost = missing(answers)
    return lost <= missing_at_most * len(answers) and lost < len(answers)


def missing(answers: Sequence[ScoredAnswer]) -> int:
    """Number of answers that lack the trait score or the coherence."""
    return sum(answer.trait_score is None or answer.coherence is None for answer in answers)


def refuse_missing(answers: Sequence[ScoredAnswer], missing_at_most: float, what: str) -> None:
    """Stop where a setting that others are held against cannot be judged; `what` names it.

    Raises:
        TraitsteerError: a larger share of its scores is missing than allowed, or all of them are.
    """
    if enough(answers, missing_at_most):
        return
    lost = missing(answers)
    unanswered = sum(answer.state == "no answer" for answer in answers)
    advice = "check the judge and run again"
    if unanswered == lost:
        advice = "the model reasoned to the end of each of them: raise answers.max_new_tokens"
    raise TraitsteerError(
        f"{what}: {lost} of {len(answers)} answers lack a score, expected at most the share of "
        f"judge.missing_at_most = {missing_at_most:g}; {advice}."
    )


def _means(values: ByQuestion) -> list[float]:
    """Mean of the present values of each question that has any."""
    present = ([v for v in samples if v is not None] for samples in values.values())
    return [sum(samples) / len(samples) for samples in present if samples]
