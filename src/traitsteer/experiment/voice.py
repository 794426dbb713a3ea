"""How two arms' answers sound, beside the unsteered ones: every measure with interval and n.

Answers of the arms are paired: the same questions, samples and seeds. The judge tells naturalness
of each answer, and which of two answers sounds more natural, in both orders and without knowing
which arm is which. What the judge said is kept on disk, so that a killed stage asks nothing twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from traitsteer.maths.permutation import sign_flip_p_value
from traitsteer.maths.statistics import (
    mean_interval,
    paired_difference_interval,
    paired_differences,
    score_interval,
    share_interval,
)
from traitsteer.words.records import Answer, Judge, ScoredAnswer
from traitsteer.words.scores import ByQuestion
from traitsteer.words.scoring_config import VoiceConfig
from traitsteer.words.seeds import small_seed_for
from traitsteer.words.text_measures import (
    announces,
    exclamations,
    moving_type_token,
    repeated,
    type_token,
)
from traitsteer.words.wording import length
from traitsteer.world.files import digest, read_json, write_json

NATURAL, INSTRUCTION, BASELINE = "natural", "instruction", "baseline"
MEASURES = (
    "naturalness",
    "coherence",
    "announced",
    "exclaimed",
    "exclamations",
    "repeated",
    "type_token",
    "moving_type_token",
    "words",
)
"""Names of what is measured of every answer."""
SHARES = ("announced", "exclaimed")
"""Measures that an answer has or has not, 1 or 0; their means are in percent."""

UP_TO_100 = ("naturalness", "coherence", "repeated", "type_token", "moving_type_token")
"""Measures from 0 to 100."""

_AT_ONCE = 64
"""Questions to the judge that are kept together."""

VoiceRow = dict[str, Any]
Shown = TypeVar("Shown", Answer, tuple[Answer, Answer])


def measured(text: str, names: tuple[str, ...], voice: VoiceConfig) -> dict[str, float | None]:
    """The measures of one text that need no judge; None where it is too short for one.

    announced: names the trait as the speaker's own, None where the trait has no names. exclaimed:
    holds an exclamation mark; exclamations: for each 100 words. repeated: percent of n-grams of
    `voice.ngram` words that stood before. type_token, and moving_type_token over `voice.window`
    words: percent. words: how many.
    """
    return {
        "announced": float(announces(text, names)) if names else None,
        "exclaimed": float("!" in text),
        "exclamations": exclamations(text),
        "repeated": _percent(repeated(text, voice.ngram)),
        "type_token": _percent(type_token(text)),
        "moving_type_token": _percent(moving_type_token(text, voice.window)),
        "words": float(length(text)),
    }


def _percent(share: float | None) -> float | None:
    return None if share is None else 100.0 * share


def heard(
    answers: Mapping[str, Sequence[ScoredAnswer]],
    questions: Sequence[str],
    names: tuple[str, ...],
    judge: Judge,
    voice: VoiceConfig,
    cache: Path,
) -> list[VoiceRow]:
    """One row for each answer of each setting: the answer, its measures and how it was preferred.

    `preferred_first` and `preferred_second` say how the arm's answer fared against the other arm's
    when shown first and second: 1 chosen, 0 not, 0.5 a tie, None where the judge did not say.
    Rows about which it was not asked (the baseline, and samples from `voice.pairs` on) lack them.
    Where a model that reasons came to no answer, nothing is measured and the judge is not asked.
    """
    rows = [
        {"setting": setting, **asdict(answer)} for setting, of in answers.items() for answer in of
    ]
    spoken = {
        number: Answer(questions[row["question"]], row["text"])
        for number, row in enumerate(rows)
        if row["state"] != "no answer"
    }
    natural = _kept(cache, ["naturalness", judge.digest], judge.naturalness, list(spoken.values()))
    for row in rows:
        row |= dict.fromkeys(name for name in MEASURES if name != "coherence")
    for number, score in zip(spoken, natural, strict=True):
        rows[number] |= {"naturalness": score, **measured(rows[number]["text"], names, voice)}

    place = {(row["setting"], row["question"], row["sample"]): n for n, row in enumerate(rows)}
    first = min((answer.sample for answer in answers[NATURAL]), default=0)
    asked = [
        (place[NATURAL, a.question, a.sample], place[INSTRUCTION, a.question, a.sample])
        for a in answers[NATURAL]
        if a.sample < first + voice.pairs
    ]
    orders = asked + [(other, one) for one, other in asked]
    for one, other in orders:
        rows[one]["preferred_first"] = rows[other]["preferred_second"] = None
    heard = [(one, other) for one, other in orders if one in spoken and other in spoken]
    pairs = [(spoken[one], spoken[other]) for one, other in heard]
    chosen = _kept(cache, ["prefer", judge.digest], judge.prefer, pairs)
    for (one, other), said in zip(heard, chosen, strict=True):
        rows[one]["preferred_first"] = said
        rows[other]["preferred_second"] = None if said is None else 1.0 - said
    return rows


def _kept(
    cache: Path,
    key: Sequence[str],
    ask: Callable[[Sequence[Shown]], list[float | None]],
    items: Sequence[Shown],
) -> list[float | None]:
    """Ask the judge what is not on disk yet, some at a time.

    Some with a missing answer are not kept: the judge may have failed, and the next run asks again.
    """
    found: list[float | None] = []
    for start in range(0, len(items), _AT_ONCE):
        some = items[start : start + _AT_ONCE]
        texts = [[asdict(each) for each in _answers(item)] for item in some]
        path = cache / "voice" / f"{digest([*key, texts])}.json"
        said: list[float | None] = read_json(path) if path.exists() else ask(some)
        if not path.exists() and None not in said:
            write_json(path, said)
        found += [score for _, score in zip(some, said, strict=True)]
    return found


def _answers(item: Answer | tuple[Answer, Answer]) -> tuple[Answer, ...]:
    return (item,) if isinstance(item, Answer) else item


def compared(
    rows: Sequence[VoiceRow], confidence: float, seed: int, missing_at_most: float
) -> dict[str, Any]:
    """Every measure with its interval for each setting, and natural minus instruction.

    Intervals and p-values (two-sided sign flips) are over questions; `missing` counts the values
    that were left out, of all settings. A measure of which a setting lacks a larger share of values
    than `missing_at_most` is None, and `not_measured` says why.
    """
    settings = (BASELINE, INSTRUCTION, NATURAL)
    found = {name: {s: _by_question(rows, s, name) for s in settings} for name in MEASURES}
    pairs, first = _pairs(rows)
    values: dict[str, dict[str, ByQuestion]] = {**found, "preference": {"pairs": pairs}}
    reasons = {name: _too_few(of, missing_at_most) for name, of in values.items()}
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


def _measure(values: Mapping[str, ByQuestion], name: str, confidence: float, seed: int) -> VoiceRow:
    scale = 100.0 if name in SHARES else 1.0
    interval = (
        share_interval if name in SHARES else score_interval if name in UP_TO_100 else mean_interval
    )
    new, old = (_scaled(values[arm], scale) for arm in (NATURAL, INSTRUCTION))
    p_value = sign_flip_p_value(paired_differences(new, old), _seed(seed, name))
    return {
        **{setting: interval(found, confidence).rounded() for setting, found in values.items()},
        "difference": paired_difference_interval(new, old, confidence).rounded(),
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
            shown = [_percent(one), None if two is None else 100.0 * (1.0 - two)]
            first.setdefault(str(row["question"]), []).extend(shown)
    return pairs, first


def _preference(pairs: ByQuestion, first: ByQuestion, confidence: float, seed: int) -> VoiceRow:
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
