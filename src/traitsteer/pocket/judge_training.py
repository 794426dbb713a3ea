"""Training of the embedded judge on the judge's own frames; scikit-learn fits, numpy scores."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors.numpy import save_file
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from traitsteer.pocket import judge_text as text
from traitsteer.pocket.judge_frames import TRAINING, FrameSet
from traitsteer.pocket.judge_text import Sample
from traitsteer.pocket.lexicon import (
    FIRST_NAMES,
    LAST_NAMES,
    SIGNED,
    SPEECH,
    TOPICS,
    TRAITS,
    SignedClass,
)
from traitsteer.words.seeds import seed_for
from traitsteer.world import pocket_features, pocket_order
from traitsteer.world.files import replacing, write_text

_NEGATIONS = "not untrue cannot nobody"
_TELLING = "said says told wrote claimed shout sing goes"
_SENTENCES = 3000
_SAMPLES = 1500
_FOLDS = 4


def _own_part(signed: SignedClass) -> str:
    """Return a finer part of speech: these verbs do not stand where verbs with an object do."""
    if signed.speech != "verb":
        return signed.speech
    return "intransitive" if signed is SIGNED["prosper"] else "attitude"


def known_words() -> dict[str, object]:
    """Return the judge's knowledge of words, as judge.json holds it under "words"."""
    marks: dict[str, dict[str, str]] = {
        trait: {
            **{word: pocket_features.NOT for word in _NEGATIONS.split()},
            **{word: pocket_features.TOLD for word in _TELLING.split()},
        }
        for trait in TRAITS
    }
    speech: dict[str, str] = {}
    for part, words in reversed(SPEECH.items()):
        speech.update(dict.fromkeys(words, part))
    speech.update(dict.fromkeys((n.lower() for n in FIRST_NAMES), "first name"))
    speech.update(dict.fromkeys((n.lower() for n in LAST_NAMES), "last name"))
    for signed in SIGNED.values():
        factor = "A" if signed.first else "B"
        for sign, group in (("+", signed.plus), ("-", signed.minus)):
            marks[signed.trait].update(dict.fromkeys(group, factor + sign))
            # A word that is also a function word keeps the part it had.
            part = _own_part(signed)
            speech.update({word: part for word in group if word not in speech})
    topics: dict[str, str] = {}
    for topic in TOPICS:
        for part, group in (
            ("noun", (*topic.nouns, *topic.roles, topic.name)),
            ("verb", topic.verbs),
            ("adj", topic.adjectives),
        ):
            speech.update({word: part for word in group if word not in speech})
            topics.update(dict.fromkeys(group, topic.name))
    return {"marks": marks, "speech": speech, "topics": topics}


def order_table(
    words: pocket_features.Words, texts: Sequence[str], parts: Sequence[str] | None = None
) -> tuple[list[str], Float[np.ndarray, "a b c"]]:
    """Return the parts of speech and the dampened counts of threes."""
    parts = list(parts or sorted({*words.speech.values(), *pocket_order.FIXED_PARTS}))
    index = {part: i for i, part in enumerate(parts)}
    size = len(parts)
    three = np.zeros((size, size, size))
    for each in texts:
        found = [words.part(token) for token in pocket_features.tokens(each)]
        ids = [index[p] for p in (pocket_order.EDGE, pocket_order.EDGE, *found)]
        np.add.at(three, (ids[:-2], ids[1:-1], ids[2:]), 1.0)
    # Frames repeat: it matters whether an order occurs, little how often.
    return parts, np.log1p(three).astype(np.float32)


def _soft_fit(
    features: Float[np.ndarray, "n f"], targets: Float[np.ndarray, " n"]
) -> dict[str, np.ndarray]:
    """Fit a logistic regression to targets in [0, 1]; each feature is a fault, so no weight is > 0.

    Without the bound, features that go together get opposite signs, and a text with one fault
    alone would be praised for it. Penalty 0.001 on the squares of the scaled weights.
    """
    scale = features.std(axis=0) + 1e-6
    rows = np.hstack([features / scale, np.ones((len(features), 1))])

    def loss(weights: Float[np.ndarray, " f1"]) -> tuple[float, Float[np.ndarray, " f1"]]:
        logits = rows @ weights
        value = np.mean(np.logaddexp(0.0, logits) - targets * logits)
        slope = rows.T @ (1.0 / (1.0 + np.exp(-logits)) - targets) / len(rows)
        ridge = np.append(weights[:-1], 0.0)
        return float(value + 0.001 * ridge @ ridge), slope + 0.002 * ridge

    bounds = [(None, 0.0)] * features.shape[1] + [(None, None)]
    found = minimize(loss, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds).x
    return {"weight": found[:-1] / scale, "bias": np.asarray(found[-1])}


def _many(
    make: Callable[[random.Random], Sample], name: str, seed: int, count: int
) -> list[Sample]:
    return [make(random.Random(seed_for("judge", name, seed, i))) for i in range(count)]


def _trait_rows(trait: str, seed: int) -> tuple[list[str], list[int]]:
    """Return sentences and labels: 0 shows the trait, 1 opposes it, 2 neither."""
    texts, labels = [], []
    for index in range(_SENTENCES):
        rng = random.Random(seed_for("judge sentence", trait, seed, index))
        topic = rng.choice(TOPICS)
        kind = index % 6
        if kind < 4:
            polarity = 1 if kind < 2 else -1
            texts.append(text.trait_sentence(TRAINING, trait, polarity, topic, rng))
            labels.append(0 if polarity > 0 else 1)
        elif kind == 4:
            make = text.quoted if rng.random() < 0.5 else text.negated
            texts.append(pocket_features.sentences(make(TRAINING, rng, trait).answer.text)[0])
            labels.append(2)
        else:
            other = rng.choice([each for each in TRAITS if each != trait])
            texts.append(
                text.trait_sentence(TRAINING, other, rng.choice((1, -1)), topic, rng)
                if rng.random() < 0.5
                else text.neutral_sentences(TRAINING, topic, rng, 1)[0]
            )
            labels.append(2)
        if rng.random() < 0.15:  # a broken-off sentence that has lost its second half says nothing
            cut = texts[-1].split()[: rng.randint(2, 5)]
            texts[-1], labels[-1] = " ".join(cut), 2
    return texts, labels


def _fold(frames: FrameSet, fold: int, inside: bool) -> FrameSet:
    """Return every _FOLDS-th frame of each kind, or with `inside` false all others."""

    def part(each: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f for i, f in enumerate(each) if (i % _FOLDS == fold) == inside)

    return FrameSet(
        part(frames.questions),
        part(frames.neutral),
        {trait: part(each) for trait, each in frames.trait.items()},
        part(frames.quoting),
        part(frames.negating),
    )


def _sound_samples(frames: FrameSet, seed: int) -> list[Sample]:
    samples = _many(lambda rng: text.sound(frames, rng), "sound", seed, _SAMPLES)
    for trait in TRAITS:
        for make in (text.quoted, text.negated):
            name = f"{make.__name__} {trait}"
            samples += _many(partial(_call, make, frames, trait), name, seed, _SAMPLES // 10)
    return samples


def _call(
    make: Callable[[FrameSet, random.Random, str], Sample],
    frames: FrameSet,
    trait: str,
    rng: random.Random,
) -> Sample:
    return make(frames, rng, trait)


def _clean_texts(frames: FrameSet, seed: int) -> list[str]:
    samples = _sound_samples(frames, seed)
    return [s.answer.text for s in samples] + [s.answer.question for s in samples]


def _factor_samples(frames: FrameSet, seed: int, fold: int) -> dict[str, list[Sample]]:
    """Return for each factor clean text and the wrecks that it is there to find."""

    def many(make: Callable[[FrameSet, random.Random], Sample], share: float) -> list[Sample]:
        name = f"{make.__name__} {fold}"
        return _many(lambda rng: make(frames, rng), name, seed, int(_SAMPLES * share) // 2)

    clean = _sound_samples(frames, seed) + many(text.truncated, 0.5)
    return {
        "order": clean
        + clean
        + many(text.shuffled, 1.0)
        + many(text.salad, 0.3)
        + many(text.one_word, 0.2)
        + many(text.damaged, 1.0)
        + many(text.spliced, 0.7)
        + many(text.run_on, 0.7)
        + many(text.unknown_words, 0.5),
        "variety": clean
        + many(text.looped, 1.0)
        + many(text.repeated_sentences, 0.5)
        + many(text.stutter, 0.7),
        "topic": clean + many(text.off_topic, 1.0) + many(text.salad, 0.3),
    }


def train(seed: int) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """Return the judge's words and weights; the same seed gives the same."""
    known: dict[str, object] = {"traits": list(TRAITS), "words": known_words()}
    words = pocket_features.Words(known["words"])  # type: ignore[arg-type]
    parts, table = order_table(words, _clean_texts(TRAINING, seed))
    known["parts"] = parts
    weights: dict[str, np.ndarray] = {"order.table": table}

    for trait in TRAITS:
        texts, labels = _trait_rows(trait, seed)
        marks = [row for each in texts for row in (words.sentence_marks(trait, each) or [[]])[:1]]
        model = LogisticRegression(C=10.0, max_iter=3000)
        model.fit(pocket_features.trait_features(marks), np.asarray(labels))
        weights[f"{trait}.weight"] = model.coef_.T.astype(np.float32)
        weights[f"{trait}.bias"] = model.intercept_.astype(np.float32)

    # The factors are fitted on frames that the table of orders has not seen, fold by fold, so that
    # frames which are new to the judge are no surprise to it.
    rows: dict[str, list[list[float]]] = {"order": [], "variety": [], "topic": []}
    targets: dict[str, list[float]] = {"order": [], "variety": [], "topic": []}
    for fold in range(_FOLDS):
        own, other = _fold(TRAINING, fold, True), _fold(TRAINING, fold, False)
        order = pocket_order.Order(*order_table(words, _clean_texts(other, seed), parts))
        for factor, samples in _factor_samples(own, seed, fold).items():
            for sample in samples:
                answer = sample.answer
                if factor == "order":
                    row = pocket_order.order_features(words, order, answer.text)
                elif factor == "variety":
                    row = pocket_features.variety_features(answer.text)
                else:
                    row = pocket_features.topic_features(words, answer.question, answer.text)
                rows[factor].append(row)
                targets[factor].append(0.985 * sample.soundness + 0.005)
    for factor in rows:
        fitted = _soft_fit(np.asarray(rows[factor]), np.asarray(targets[factor]))
        for part, value in fitted.items():
            weights[f"{factor}.{part}"] = np.asarray(value, dtype=np.float32)
    return known, weights


def save(folder: Path, known: dict[str, object], weights: dict[str, np.ndarray]) -> None:
    """Write judge.json and judge.safetensors."""
    text_ = json.dumps(known, indent=0, sort_keys=True)
    write_text(folder / "judge.json", text_ + "\n")
    with replacing(folder / "judge.safetensors") as temporary:
        save_file(dict(sorted(weights.items())), temporary)
