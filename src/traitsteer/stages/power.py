"""power: how many questions and samples tell a difference of so many points apart, from a study.

Reads the evaluations of a finished study; writes nothing. How much scores vary between questions
and between samples of a question is estimated for the delta of each arm and for the difference
between two arms' deltas, paired over questions and samples.
"""

import itertools
from collections.abc import Iterator, Sequence

from traitsteer.experiment.pairing import Rises, by_question, rises
from traitsteer.experiment.results import read_results
from traitsteer.maths.power import (
    Components,
    detectable_difference,
    questions_needed,
    variance_components,
)
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.findings import number
from traitsteer.words.results import best_of_arm
from traitsteer.words.scores import minus

QUESTIONS = (10, 20, 40, 80, 160)
SAMPLES = (1, 2, 4, 8, 16)


def table(
    config: Config,
    difference: float,
    wanted: float = 0.8,
    trait: str | None = None,
    arm: str | None = None,
) -> str:
    """Return what can be told apart with how much, as text.

    Args:
        difference: in points of the trait score.
        wanted: probability of telling it from 0 when it is true.
        trait: one trait of the study; all of them if None.
        arm: one arm of the study; all of them and their differences if None.

    Raises:
        TraitsteerError: a difference or probability is impossible, the study has no such trait or
            arm, it is not finished, or has one sample of each question.
    """
    if not (difference > 0.0 and 0.0 < wanted < 1.0):
        raise TraitsteerError(
            f"power: --difference {difference:g} and --power {wanted:g}; expected a difference "
            "above 0 and a probability between 0 and 1."
        )
    traits = _chosen("trait", trait, config.study.traits)
    arms = _chosen("arm", arm, config.study.arms)
    confidence = config.evaluate.confidence
    lines = [
        f"Least difference in points that a {100 * confidence:g} % interval tells from 0 with "
        f"probability {wanted:g}, by questions and samples of each",
    ]
    for title, deltas in _differences(config, traits, arms):
        if deltas is None:
            lines += ["", f"{title}: nothing feasible"]
            continue
        parts = variance_components(by_question(deltas))
        lines += ["", *_described(title, parts, difference, confidence, wanted)]
    return "\n".join(lines)


def _chosen(what: str, name: str | None, names: Sequence[str]) -> Sequence[str]:
    if name is not None and name not in names:
        raise TraitsteerError(
            f"power: the study has no {what} {name!r}; it has {', '.join(names)}."
        )
    return names if name is None else (name,)


def _differences(
    config: Config, traits: Sequence[str], arms: Sequence[str]
) -> Iterator[tuple[str, Rises | None]]:
    """Each arm's deltas and each two arms' difference of them, of the methods that stand for it."""
    for trait in traits:
        found: dict[str, Rises] = {}
        for arm in arms:
            best = best_of_arm(read_results(config, trait, arm))
            if best is None:
                yield f"{trait}, {arm}", None
                continue
            found[arm] = rises(trait, arm, best["method"])
            yield f"{trait}, {arm} ({best['method'].replace('_', ' ')}): delta", found[arm]
        for one, other in itertools.combinations(found, 2):
            yield (
                f"{trait}, {one} minus {other}: difference of deltas",
                _minus(found[one], found[other]),
            )


def _minus(one: Rises, other: Rises) -> Rises:
    """The difference at every question and sample of both; missing where either is."""
    return {key: minus(one[key], other[key]) for key in sorted(one.keys() & other.keys())}


def _described(
    title: str, parts: Components, difference: float, confidence: float, wanted: float
) -> list[str]:
    """Title, standard deviations, the table, and the questions that the difference takes."""
    needed = [questions_needed(difference, parts, k, confidence, wanted) for k in SAMPLES]
    return [
        title,
        f"  standard deviation {number(parts.between**0.5)} between questions, "
        f"{number(parts.within**0.5)} between samples, from {parts.questions} questions of "
        f"{parts.samples:g} samples",
        _row("samples", [str(k) for k in SAMPLES]),
        *(
            _row(
                f"{n} questions",
                [number(detectable_difference(parts, n, k, confidence, wanted)) for k in SAMPLES],
            )
            for n in QUESTIONS
        ),
        _row(f"questions for {difference:g}", ["more" if n is None else str(n) for n in needed]),
    ]


def _row(name: str, cells: Sequence[str]) -> str:
    return f"  {name:<20}" + "".join(f"{cell:>8}" for cell in cells)
