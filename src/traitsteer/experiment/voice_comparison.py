"""How two arms sound beside each other: every measure with its interval; n counts questions."""

from collections.abc import Mapping, Sequence
from typing import Any

from traitsteer.experiment.voice import BASELINE, INSTRUCTION, MEASURES, NATURAL, VoiceRow
from traitsteer.maths.permutation import sign_flip_p_value
from traitsteer.maths.statistics import (
    mean_interval,
    paired_delta_interval,
    paired_difference_interval,
    paired_differences,
    score_interval,
    share_interval,
)
from traitsteer.words.scores import ByQuestion
from traitsteer.words.seeds import small_seed_for

SHARES = ("announced", "exclaimed")
"""Measures that an answer has or has not, 1 or 0; their means are in percent."""

UP_TO_100 = ("naturalness", "coherence", "repeated", "type_token", "moving_type_token")
"""Measures from 0 to 100."""


def compared(
    rows: Sequence[VoiceRow],
    confidence: float,
    seed: int,
    missing_at_most: float,
    named: bool = True,
) -> dict[str, Any]:
    """Every measure with its interval for each setting, and natural minus instruction.

    Intervals and p-values (two-sided sign flips) are over questions; `missing` counts the values
    that were left out, of all settings. A measure of which a setting lacks a larger share of values
    than `missing_at_most` is None, and `not_measured` says why. Of a trait that is not `named` no
    answer can tell whether it announces it.
    """
    settings = (BASELINE, INSTRUCTION, NATURAL)
    found = {name: {s: _by_question(rows, s, name) for s in settings} for name in MEASURES}
    pairs, first = _pairs(rows)
    values: dict[str, dict[str, ByQuestion]] = {**found, "preference": {"pairs": pairs}}
    reasons = {name: _too_few(of, missing_at_most) for name, of in values.items()}
    if not named:
        reasons["announced"] = "the trait's names.txt names no word"
    return {
        "measures": {
            name: None if reasons[name] else _measure(of, name, confidence, seed)
            for name, of in found.items()
        },
        "preference": None
        if reasons["preference"]
        else _preference(pairs, first, confidence, seed),
        "not_measured": {name: reason for name, reason in reasons.items() if reason},
    }


def _too_few(values: Mapping[str, ByQuestion], missing_at_most: float) -> str | None:
    """Why a measure cannot be told; None where every setting has enough of its values."""
    for setting, found in values.items():
        single = [value for of in found.values() for value in of]
        lost = single.count(None)
        if lost > missing_at_most * len(single) or lost == len(single):
            return f"{lost} of {len(single)} {setting} values are missing"
    if len(values) > 1 and not len(paired_differences(values[NATURAL], values[INSTRUCTION])):
        return "no question has values of both arms"
    return None


def _measure(
    values: Mapping[str, ByQuestion], name: str, confidence: float, seed: int
) -> dict[str, Any]:
    """One measure by setting, and the natural arm's minus the instruction arm's."""
    scale = 100.0 if name in SHARES else 1.0
    interval = (
        share_interval if name in SHARES else score_interval if name in UP_TO_100 else mean_interval
    )
    between = paired_delta_interval if name in SHARES + UP_TO_100 else paired_difference_interval
    new, old = (_scaled(values[arm], scale) for arm in (NATURAL, INSTRUCTION))
    p_value = sign_flip_p_value(paired_differences(new, old), _seed(seed, name))
    return {
        **{setting: interval(found, confidence).rounded() for setting, found in values.items()},
        "difference": between(new, old, confidence).rounded(),
        "p_value": round(p_value, 4),
        "missing": sum(v is None for found in values.values() for of in found.values() for v in of),
    }


def _pairs(rows: Sequence[VoiceRow]) -> tuple[ByQuestion, ByQuestion]:
    """Percent by question: how a pair's natural answer fared in both orders, and what was shown
    first in each.
    """
    pairs: ByQuestion = {}
    first: ByQuestion = {}
    for row in rows:
        if row["setting"] == NATURAL and "preferred_first" in row:
            one, two = row["preferred_first"], row["preferred_second"]
            whole = None if one is None or two is None else 50.0 * (one + two)
            pairs.setdefault(str(row["question"]), []).append(whole)
            won_first = one, None if two is None else 1.0 - two
            first.setdefault(str(row["question"]), []).extend(
                None if won is None else 100.0 * won for won in won_first
            )
    return pairs, first


def _preference(
    pairs: ByQuestion, first: ByQuestion, confidence: float, seed: int
) -> dict[str, Any]:
    """How often, in percent, the natural arm's answer was preferred; 50 is no preference.

    A pair counts with the mean of its two orders, and is missing where either of them is. `won`,
    `lost` and `even` count pairs as natural; even are ties and pairs whose orders contradict each
    other. `first`: how often what was shown first won, 50 for a judge whom the order leaves cold.
    """
    even: ByQuestion = {question: [50.0] for question in pairs}
    scores = [score for of in pairs.values() for score in of]
    present = [score for score in scores if score is not None]
    return {
        "natural": score_interval(pairs, confidence).rounded(),
        "p_value": round(
            sign_flip_p_value(paired_differences(pairs, even), _seed(seed, "preference")), 4
        ),
        "first": score_interval(first, confidence).rounded(),
        "won": sum(score > 50.0 for score in present),
        "lost": sum(score < 50.0 for score in present),
        "even": sum(score == 50.0 for score in present),
        "missing": len(scores) - len(present),
    }


def _seed(seed: int, name: str) -> int:
    return small_seed_for(seed, "voice", name)


def _scaled(values: ByQuestion, scale: float) -> ByQuestion:
    return {key: [None if v is None else scale * v for v in of] for key, of in values.items()}


def _by_question(rows: Sequence[VoiceRow], setting: str, name: str) -> ByQuestion:
    found: ByQuestion = {}
    for row in rows:
        if row["setting"] == setting:
            found.setdefault(str(row["question"]), []).append(row[name])
    return found
