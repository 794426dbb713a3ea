"""Training of the embedded judge on the judge's own frames; scikit-learn fits, numpy scores."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression

from traitsteer.pocket import judge_text as text
from traitsteer.pocket.grammar import fill
from traitsteer.pocket.judge_frames import TRAINING
from traitsteer.pocket.judge_text import Sample
from traitsteer.pocket.lexicon import FIRST_NAMES, LAST_NAMES, SIGNED, SPEECH, TOPICS, TRAITS
from traitsteer.words.records import Answer
from traitsteer.words.seeds import seed_for
from traitsteer.world import pocket_judge as inference
from traitsteer.world.files import replacing, write_text

_NEGATIONS = "not untrue cannot nobody"
_TELLING = "said says told wrote claimed shout sing goes"
_SENTENCES = 3000
_SAMPLES = 1500


def known_words() -> dict[str, object]:
    """Return the judge's knowledge of words, as judge.json holds it under "words"."""
    marks: dict[str, dict[str, str]] = {
        trait: {
            **{word: inference.NOT for word in _NEGATIONS.split()},
            **{word: inference.TOLD for word in _TELLING.split()},
        }
        for trait in TRAITS
    }
    speech: dict[str, str] = {}
    for part, words in reversed(SPEECH.items()):
        speech.update(dict.fromkeys(words, part))
    speech.update(dict.fromkeys((n.lower() for n in FIRST_NAMES), "first name"))
    speech.update(dict.fromkeys((n.lower() for n in LAST_NAMES), "last name"))
    for words in SIGNED.values():
        factor = "A" if words.first else "B"
        for sign, group in (("+", words.plus), ("-", words.minus)):
            marks[words.trait].update(dict.fromkeys(group, factor + sign))
            # A word that is also a function word keeps the part it had.
            speech.update({word: words.speech for word in group if word not in speech})
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
    words: inference.Words, texts: Sequence[str]
) -> tuple[list[str], Float[np.ndarray, "a b c"]]:
    """Return the parts of speech and log p(c | a, b), interpolated over shorter contexts."""
    parts = sorted(
        {*words.speech.values(), "number", "unknown", inference._EDGE, *'.,:?!";'},
    )
    index = {part: i for i, part in enumerate(parts)}
    size = len(parts)
    three = np.zeros((size, size, size))
    for each in texts:
        found = [
            words.part(token)
            for sentence in inference.sentences(each)
            for token in inference.tokens(sentence)
        ]
        ids = [index[p] for p in (inference._EDGE, inference._EDGE, *found)]
        np.add.at(three, (ids[:-2], ids[1:-1], ids[2:]), 1.0)
    # Counts are dampened: frames repeat, and it matters whether an order occurs, not how often.
    three = np.log1p(three)
    two, one = three.sum(axis=0), three.sum(axis=(0, 1))
    uniform = np.full(size, 1.0 / size)
    first = (one + uniform) / (one.sum() + 1)
    second = (two + 2.0 * first) / (two.sum(axis=1, keepdims=True) + 2.0)
    third = (three + 6.0 * second) / (three.sum(axis=2, keepdims=True) + 6.0)
    return parts, np.log(third).astype(np.float32)


def _soft_fit(
    features: Float[np.ndarray, "n f"], targets: Float[np.ndarray, " n"]
) -> dict[str, np.ndarray]:
    """Fit a logistic regression to targets in [0, 1], each row counting for both classes."""
    rows = np.concatenate([features, features])
    labels = np.concatenate([np.ones(len(targets)), np.zeros(len(targets))])
    weights = np.concatenate([targets, 1.0 - targets])
    scale = rows.std(axis=0) + 1e-6
    model = LogisticRegression(C=30.0, max_iter=2000).fit(rows / scale, labels, weights)
    return {"weight": model.coef_[0] / scale, "bias": model.intercept_[0]}


def _many(make: Callable[[random.Random], Sample], name: str, seed: int, count: int) -> list[Sample]:
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
            texts.append(inference.sentences(make(TRAINING, rng, trait).answer.text)[0])
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


def train(seed: int) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """Return the judge's words and weights; the same seed gives the same."""
    known: dict[str, object] = {"traits": list(TRAITS), "words": known_words()}
    words = inference.Words(known["words"])  # type: ignore[arg-type]
    clean = _many(lambda rng: text.sound(TRAINING, rng), "sound", seed, _SAMPLES)
    for trait in TRAITS:
        clean += _many(lambda rng, t=trait: text.quoted(TRAINING, rng, t), f"quoted {trait}", seed, 150)
        clean += _many(lambda rng, t=trait: text.negated(TRAINING, rng, t), f"negated {trait}", seed, 150)
    cut = _many(lambda rng: text.truncated(TRAINING, rng), "truncated", seed, _SAMPLES // 2)
    corpus = [sample.answer.text for sample in clean]
    corpus += [sample.answer.question for sample in clean]
    parts, table = order_table(words, corpus)
    known["parts"] = parts
    order = inference.Order(parts, table.astype(np.float64))
    weights: dict[str, np.ndarray] = {"order.table": table}

    for trait in TRAITS:
        texts, labels = _trait_rows(trait, seed)
        marks = [row for each in texts for row in (words.sentence_marks(trait, each) or [[]])[:1]]
        model = LogisticRegression(C=10.0, max_iter=3000)
        model.fit(inference.trait_features(marks), np.asarray(labels))
        weights[f"{trait}.weight"] = model.coef_.T.astype(np.float32)
        weights[f"{trait}.bias"] = model.intercept_.astype(np.float32)

    def broken(name: str, count: int = _SAMPLES // 3) -> list[Sample]:
        make: Callable[..., Sample] = getattr(text, name)
        return _many(lambda rng: make(TRAINING, rng), name, seed, count)

    fits: dict[str, tuple[list[Sample], Callable[[Answer], list[float]]]] = {
        "order": (
            clean + cut + broken("shuffled", _SAMPLES) + broken("salad") + broken("one_word", 300)
            + broken("damaged", _SAMPLES),
            lambda a: inference.order_features(words, order, a.text),
        ),
        "variety": (
            clean + cut + broken("looped", _SAMPLES) + broken("repeated_sentences"),
            lambda a: inference.variety_features(a.text),
        ),
        "topic": (
            clean + cut + broken("off_topic", _SAMPLES) + broken("salad"),
            lambda a: inference.topic_features(words, a.question, a.text),
        ),
    }  # fmt: skip
    for name, (samples, features) in fits.items():
        rows = np.asarray([features(sample.answer) for sample in samples])
        targets = np.asarray([0.98 * sample.soundness + 0.005 for sample in samples])
        for part, value in _soft_fit(rows, targets).items():
            weights[f"{name}.{part}"] = np.asarray(value, dtype=np.float32)
    return known, weights


def save(folder: Path, known: dict[str, object], weights: dict[str, np.ndarray]) -> None:
    """Write judge.json and judge.safetensors."""
    text_ = json.dumps(known, indent=0, sort_keys=True)
    write_text(folder / "judge.json", text_ + "\n")
    with replacing(folder / "judge.safetensors") as temporary:
        save_file(dict(sorted(weights.items())), temporary)

