"""What a judge makes of traps: right or wrong, the same when asked again, and beside another judge.

An item is right when every score that something is expected of lies within its bounds. A missing
score is within none: it is counted with the wrong ones and told apart from them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from traitsteer.maths.agreement import agreement, spread, wilson_interval
from traitsteer.words.records import Answer, Judge, Judgement
from traitsteer.words.scores import Score
from traitsteer.words.traps import Trap
from traitsteer.world.progress import Advance

SCORES: tuple[Score, ...] = get_args(Score)
SPACE = " \n"
"""What is added to a text to ask again in another form: nothing that a reader would see."""


@dataclass(frozen=True)
class Judged:
    """One trap as a judge took it."""

    trait: str
    trap: Trap
    judged: Judgement

    @property
    def trait_right(self) -> bool | None:
        """Whether the trait score is right; None where nothing is expected."""
        return None if self.trap.trait is None else self.trap.trait.hold(self.judged.trait_score)

    @property
    def coherence_right(self) -> bool | None:
        """Whether the coherence is right; None where nothing is expected."""
        bounds = self.trap.coherence
        return None if bounds is None else bounds.hold(self.judged.coherence)

    @property
    def right(self) -> bool:
        """Whether everything that is expected came."""
        return self.trait_right is not False and self.coherence_right is not False

    @property
    def missing(self) -> bool:
        """Whether the judge left out a score, expected or not."""
        return self.judged.trait_score is None or self.judged.coherence is None


@dataclass(frozen=True)
class Item(Judged):
    """One trap as a judge took it, asked several times."""

    again: tuple[Judgement, ...]
    """Judgements of the very same text."""
    spaced: Judgement
    """The judgement of the text with white space after it."""


def ask_once(judge: Judge, trait: str, traps: Sequence[Trap], advance: Advance) -> list[Judged]:
    """Ask a judge for every trap."""
    found = _judgements(judge, trait, [trap.answer for trap in traps], advance)
    return [Judged(trait, trap, judged) for trap, judged in zip(traps, found, strict=True)]


def ask(judges: Sequence[Judge], trait: str, traps: Sequence[Trap], advance: Advance) -> list[Item]:
    """Ask the first judge for every trap, and once more with white space added.

    The others are the same judge, opened so that it scores anew; each is asked for every trap
    again.
    """
    answers = [trap.answer for trap in traps]
    first, *again = (_judgements(judge, trait, answers, advance) for judge in judges)
    more = [replace(answer, text=answer.text + SPACE) for answer in answers]
    spaced = _judgements(judges[0], trait, more, advance)
    return [
        Item(trait, trap, first[place], tuple(each[place] for each in again), spaced[place])
        for place, trap in enumerate(traps)
    ]


def _judgements(
    judge: Judge, trait: str, answers: Sequence[Answer], advance: Advance
) -> list[Judgement]:
    found = judge.score(trait, answers)
    advance(len(answers))
    return found


def by_trap(items: Sequence[Item], confidence: float) -> list[dict[str, Any]]:
    """One row for each trap, in the order in which they come, and a last one for all of them."""
    names = dict.fromkeys(item.trap.name for item in items)
    groups = {name: [item for item in items if item.trap.name == name] for name in names}
    return [_row(name, rows, confidence) for name, rows in (groups | {"all": [*items]}).items()]


def by_trait(items: Sequence[Item], confidence: float) -> list[dict[str, Any]]:
    """One row for each trait."""
    return [
        {"trait": trait} | _row("all", [i for i in items if i.trait == trait], confidence)
        for trait in dict.fromkeys(item.trait for item in items)
    ]


def states(items: Sequence[Item]) -> dict[str, int]:
    """How many judgements, of all that were asked for, ended in each state."""
    judged = [each for item in items for each in (item.judged, *item.again, item.spaced)]
    found = {"scored": 0, "refused": 0, "low mass": 0, "failed": 0}
    for each in judged:
        found[each.state] += 1
    return found


def retest(items: Sequence[Item]) -> dict[str, Any]:
    """How far scores move when the same is asked again, in points."""
    return {
        "asked_again": len(items[0].again) if items else 0,
        **{name: _retest_of(items, name) for name in SCORES},
    }


def beside(
    items: Sequence[Judged], others: Sequence[Judged], seed: int, confidence: float
) -> dict[str, Any]:
    """Agreement of two judges on the same items, for both scores."""
    found: dict[str, Any] = {}
    for name in SCORES:
        mine, theirs = (_scores([one.judged for one in of], name) for of in (items, others))
        measures = agreement(mine, theirs, seed=seed, confidence=confidence)
        found[name] = {key: each and each.rounded() for key, each in measures.items()}
    return found


def record(item: Item) -> dict[str, Any]:
    """One item as it is written down."""
    return {
        "trait": item.trait,
        "trap": item.trap.name,
        "question": item.trap.answer.question,
        "answer": item.trap.answer.text,
        "expected": {
            name: None if bounds is None else [bounds.lower, bounds.upper]
            for name, bounds in zip(SCORES, (item.trap.trait, item.trap.coherence), strict=True)
        },
        **{name: _rounded(getattr(item.judged, name)) for name in SCORES},
        "state": item.judged.state,
        "mass": _rounded(item.judged.mass),
        "right": item.right,
        "again": {name: [_rounded(getattr(j, name)) for j in item.again] for name in SCORES},
        "spaced": {name: _rounded(getattr(item.spaced, name)) for name in SCORES},
    }


def _row(name: str, items: Sequence[Item], confidence: float) -> dict[str, Any]:
    return {
        "trap": name,
        "items": len(items),
        "missing": sum(item.missing for item in items),
        "right": _share([item.right for item in items], confidence),
        "trait_right": _share([item.trait_right for item in items], confidence),
        "coherence_right": _share([item.coherence_right for item in items], confidence),
    }


def _share(right: Sequence[bool | None], confidence: float) -> Mapping[str, Any] | None:
    asked = [each for each in right if each is not None]
    return wilson_interval(sum(asked), len(asked), confidence).rounded() if asked else None


def _retest_of(items: Sequence[Item], name: str) -> dict[str, float | None]:
    first = _scores([item.judged for item in items], name)
    again = [_scores([item.again[k] for item in items], name) for k in range(len(items[0].again))]
    deviations = spread(np.stack([first, *again], axis=1))
    moved = np.abs(_scores([item.spaced for item in items], name) - first)
    return {
        "standard_deviation": _summary(deviations, np.mean),
        "greatest_standard_deviation": _summary(deviations, np.max),
        "moved_by_white_space": _summary(moved, np.mean),
        "most_moved_by_white_space": _summary(moved, np.max),
    }


def _summary(values: NDArray[np.float64], take: Callable[..., Any]) -> float | None:
    present = values[~np.isnan(values)]
    return round(float(take(present)), 4) if len(present) else None


def _scores(judged: Sequence[Judgement], name: str) -> NDArray[np.float64]:
    values = [getattr(each, name) for each in judged]
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
