"""The protocol: everything that a trait's numbers depend on other than the vector.

Two records a trait. `extraction_terms` hold how responses are drawn and vetted before a vector is
fitted; `protocol_terms` hold how vectors are scored. Both are written before anything is scored,
and the SHA-256 of their canonical JSON is on whatever was made under them.
"""

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Trait
from traitsteer.words.wording import plain

FrozenTerms = dict[str, Any]
"""JSON values under the names of what they fix."""

OF_TRAIT = ("trait", "rubric", "questions", "system_prompts")
"""Terms that differ between the traits of one study."""


SOURCE = {"base", "instruct", "dtype", "quantisation"}
"""What of the models' parameters decides what they say."""


def extraction_terms(
    config: Config, trait: Trait, judge: FrozenTerms, digests: Mapping[str, str]
) -> FrozenTerms:
    """The terms under which responses of one trait are elicited and vetted.

    Args:
        judge: kind, name, version and prompts of the judge.
        digests: SHA-256 of the models, by `base` and `instruct`.
    """
    return {
        "trait": trait.name,
        "rubric": trait.definition,
        "questions": {"extraction": list(trait.extraction)},
        "judge": judge,
        "models": config.models.model_dump(mode="json", include=SOURCE),
        "model_digests": dict(digests),
        "elicit": config.elicit.model_dump(mode="json"),
        "vet": config.vet.model_dump(mode="json"),
        "seed": config.seed,
    }


def protocol_terms(
    config: Config, trait: Trait, judge: FrozenTerms, model_digest: str, calibration: Sequence[str]
) -> FrozenTerms:
    """The terms under which vectors of one trait are scored.

    Args:
        judge: kind, name, version and prompts of the judge.
        model_digest: SHA-256 of the steered model.
        calibration: the questions on which the unit of strength is measured.
    """
    models = config.models
    return {
        "trait": trait.name,
        "rubric": trait.definition,
        "questions": {"selection": list(trait.selection), "report": list(trait.report)},
        "system_prompts": [pair.positive for pair in trait.system_prompts],
        "coherence_floor": config.study.coherence_floor,
        "judge": judge,
        "missing_at_most": config.judge.missing_at_most,
        "steered_model": models.instruct.model_dump(mode="json") | {"digest": model_digest},
        "dtype": models.dtype,
        "calibration": list(calibration),
        "answers": config.answers.model_dump(mode="json"),
        "search": config.search.model_dump(mode="json"),
        "evaluate": config.evaluate.model_dump(mode="json"),
        "seed": config.seed,
    }


def refuse_repeats(trait: Trait) -> None:
    """Raise TraitsteerError when a question or contrast pair of a trait stands twice.

    In two sets, what selection has seen would be reported as if it were new; in one, it would count
    as two although its answers are the same. Pairs may share a side, but of one polarity: responses
    to one prompt cannot be told apart as both. Case and punctuation make no difference.
    """
    questions = {
        name: [plain(text) for text in getattr(trait, name)]
        for name in ("extraction", "selection", "report")
    }
    pairs = {
        name: [f"{plain(pair.positive)} | {plain(pair.negative)}" for pair in getattr(trait, name)]
        for name in ("scenarios", "system_prompts")
    }
    for name in pairs:
        for pair in getattr(trait, name):
            if plain(pair.positive) == plain(pair.negative):
                raise TraitsteerError(
                    f"{trait.name}: both sides of a pair in {name}.txt are {pair.positive!r}, "
                    "apart from case and punctuation; let one of them lack the trait."
                )
        negatives = {plain(pair.negative) for pair in getattr(trait, name)}
        for pair in getattr(trait, name):
            if plain(pair.positive) in negatives:
                raise TraitsteerError(
                    f"{trait.name}: {pair.positive!r} is the positive side of one pair in "
                    f"{name}.txt and the negative side of another, apart from case and "
                    "punctuation; take one of them out."
                )
    for name, texts in (questions | pairs).items():
        for text, times in Counter(texts).items():
            if times > 1:
                raise TraitsteerError(
                    f"{trait.name}: {text!r} stands twice in {name}.txt, apart from case and "
                    "punctuation; take one of them out."
                )
    for (one, first), (other, second) in itertools.combinations(questions.items(), 2):
        if shared := set(first) & set(second):
            raise TraitsteerError(
                f"{trait.name}: the question {min(shared)!r} stands in {one}.txt and in "
                f"{other}.txt, which must share none; take it out of one of them."
            )


def refuse_few_questions(trait: Trait, margin: float) -> None:
    """Raise TraitsteerError when a set has fewer questions than an error over questions takes.

    Args:
        margin: standard errors that a recounted coherence must lie above the floor.
    """
    needed = {"report": "no reported interval would have limits"}
    if margin > 0:
        needed["selection"] = (
            "no coherence could be shown to lie search.margin standard errors above the floor"
        )
    for name, otherwise in needed.items():
        if (held := len(getattr(trait, name))) < 2:
            raise TraitsteerError(
                f"{trait.name}: {name}.txt holds {held} question, expected 2 or more, since errors "
                f"are over questions and {otherwise}; write more questions, better 20."
            )


def common_terms(terms: Mapping[str, Any]) -> FrozenTerms:
    """Terms that all traits of one study share."""
    shared = {name: value for name, value in terms.items() if name not in OF_TRAIT}
    # The judge's terms name the rubric too, which belongs to the trait.
    judge = {name: value for name, value in shared["judge"].items() if name != "rubric"}
    return shared | {"judge": judge}


def shared_terms(by_trait: Mapping[str, FrozenTerms]) -> FrozenTerms:
    """The terms that all traits of one study share, from the protocols of its traits.

    Raises:
        TraitsteerError: the protocols of two traits differ in more than belongs to a trait.
    """
    (one, terms), *others = by_trait.items()
    shared = common_terms(terms)
    for trait, other in others:
        refuse_difference(shared, common_terms(other), (f"The results of {one}", trait))
    return shared


def first_difference(one: object, other: object, path: str = "") -> tuple[str, Any, Any] | None:
    """Name of the first field in which two terms differ, as a dotted path, and both values.

    Fields are visited in the order of the first; a field that one side lacks counts as None. None
    when the terms are equal.
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in dict.fromkeys([*one, *other]):
            inner = f"{path}.{name}" if path else name
            if found := first_difference(one.get(name), other.get(name), inner):
                return found
        return None
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (a, b) in enumerate(zip(one, other, strict=True)):
            if found := first_difference(a, b, f"{path}[{place}]"):
                return found
        return None
    return None if one == other else (path, one, other)


def refuse_difference(one: FrozenTerms, other: FrozenTerms, names: tuple[str, str]) -> None:
    """Raise TraitsteerError that names the first field in which two protocols differ, if any."""
    if found := first_difference(one, other):
        field, a, b = found
        raise TraitsteerError(
            f"{names[0]} and {names[1]} were made under different protocols: {field} is "
            f"{short(a)} against {short(b)}, so their numbers may not stand in one table; run "
            "`dvc repro` to make both under the terms of params.yaml."
        )


def short(value: object) -> str:
    """A JSON value as text, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
