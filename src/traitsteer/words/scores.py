"""Means over the scored answers of one setting: questions are the clusters, samples lie in them."""

from collections.abc import Iterable, Sequence
from typing import Literal

from traitsteer.words.records import ScoredAnswer

Score = Literal["trait_score", "coherence"]


def by_question(answers: Iterable[ScoredAnswer], score: Score) -> dict[str, list[float | None]]:
    """The scores of each question, in the order of the samples; missing scores stay None."""
    clusters: dict[str, list[float | None]] = {}
    for answer in answers:
        clusters.setdefault(str(answer.question), []).append(getattr(answer, score))
    return clusters


def mean(answers: Sequence[ScoredAnswer], score: Score) -> float | None:
    """Mean over questions of the mean over their samples; None when every score is missing."""
    means = []
    for scores in by_question(answers, score).values():
        present = [value for value in scores if value is not None]
        if present:
            means.append(sum(present) / len(present))
    return sum(means) / len(means) if means else None


def missing_share(answers: Sequence[ScoredAnswer]) -> float:
    """Share of answers that lack the trait score or the coherence."""
    return missing(answers) / len(answers) if answers else 0.0


def missing(answers: Sequence[ScoredAnswer]) -> int:
    """Number of answers that lack the trait score or the coherence."""
    return sum(answer.trait_score is None or answer.coherence is None for answer in answers)
