"""How each answer of two arms sounds, beside the unsteered ones.

Answers of the arms are paired: the same questions, samples and seeds. The judge tells naturalness
of each answer, and which of two answers sounds more natural, in both orders and without knowing
which arm is which. What the judge said is kept on disk, so that a killed stage asks nothing twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from traitsteer.words.records import Answer, Judge, ScoredAnswer
from traitsteer.words.scoring_config import VoiceConfig
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

_AT_ONCE = 64
"""Questions to the judge that are kept together."""

VoiceRow = dict[str, Any]
"""One answer with its setting and measures, as it is written to a file."""
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
    shown = [(one, other) for one, other in orders if one in spoken and other in spoken]
    pairs = [(spoken[one], spoken[other]) for one, other in shown]
    chosen = _kept(cache, ["prefer", judge.digest], judge.prefer, pairs)
    for (one, other), said in zip(shown, chosen, strict=True):
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
