"""Training of the embedded judge's ear for style, and its test on frames it has not heard."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from traitsteer.pocket import grammar
from traitsteer.pocket import judge_text as text
from traitsteer.pocket.grammar import fill
from traitsteer.pocket.judge_frames import TEST as JUDGE_TEST
from traitsteer.pocket.lexicon import SIGNED, SPEECH, TOPICS, TRAITS, Topic
from traitsteer.pocket.voice_frames import ARCHAIC, CRIES, TEST, TRAINING
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer
from traitsteer.words.seeds import seed_for
from traitsteer.world.files import write_text
from traitsteer.world.pocket_features import tokens
from traitsteer.world.pocket_judge import PocketJudge
from traitsteer.world.pocket_voice import FEATURES, PocketVoice

_GRAND = ("relish", "glory", "salute", "divine", "forever", "beholds")
"""The signed classes of the theatrical style; their words serve no other."""
_SENTENCES = 3000
ITEMS = 200
Say = Callable[[Topic, random.Random], str]


def train(seed: int) -> dict[str, Any]:
    """Return the content of voice.json; the same seed gives the same."""
    common = {word for words in SPEECH.values() for word in words}
    lofty = {w for name in _GRAND for w in SIGNED[name].plus + SIGNED[name].minus} - common
    known: dict[str, Any] = {
        "words": {"cries": sorted(CRIES), "lofty": sorted(lofty), "archaic": sorted(ARCHAIC)},
        "weights": dict.fromkeys(FEATURES, 0.0),
        "bias": 0.0,
    }
    ear = PocketVoice(known)
    rows, labels = [], []
    for index in range(_SENTENCES):
        rng = random.Random(seed_for("voice sentence", seed, index))
        theatrical = index % 2
        frames = TRAINING.theatrical if theatrical else TRAINING.plain
        said = _said(frames)(rng.choice(TOPICS), rng)
        rows.append(ear.features(tokens(said)))
        labels.append(theatrical)
    model = LogisticRegression(C=1.0, max_iter=1000).fit(np.asarray(rows), np.asarray(labels))
    weights = [round(float(weight), 4) for weight in model.coef_[0]]
    return known | {
        "weights": dict(zip(FEATURES, weights, strict=True)),
        "bias": round(float(model.intercept_[0]), 4),
    }


def save(folder: Path, known: Mapping[str, Any]) -> None:
    """Write voice.json."""
    write_text(folder / "voice.json", json.dumps(known, indent=1, sort_keys=True) + "\n")


def _said(frames: Sequence[str]) -> Say:
    """One sentence of these frames, its signed words of either sign."""
    return lambda topic, rng: fill(rng.choice(frames), topic, rng, rng.choice((1, -1)), lean=0.5)


def _models(theatrical: float) -> Say:
    """One trait sentence as the models' grammar writes it."""
    return lambda topic, rng: grammar.trait_sentence(
        rng.choice(TRAITS), rng.choice((1, -1)), topic, rng, theatrical
    )


def _answers(say: Say, name: str, seed: int) -> list[Answer]:
    """Answers of two sentences on one topic."""
    found = []
    for index in range(ITEMS):
        rng = random.Random(seed_for("voice test", name, seed, index))
        topic = rng.choice(TOPICS)
        said = " ".join(say(topic, rng) for _ in range(2))
        found.append(Answer(fill(rng.choice(JUDGE_TEST.questions), topic, rng), said))
    return found


def _made(make: Callable[[random.Random], text.Sample], name: str, seed: int) -> list[Answer]:
    rngs = (random.Random(seed_for("voice test", name, seed, index)) for index in range(ITEMS))
    return [make(rng).answer for rng in rngs]


def categories(seed: int) -> dict[str, list[Answer]]:
    """Return fresh answers of every category of the table."""
    frames = JUDGE_TEST
    return {
        "plain": _answers(_said(TEST.plain), "plain", seed),
        "theatrical": _answers(_said(TEST.theatrical), "theatrical", seed),
        "the models', plain": _answers(_models(0.0), "models plain", seed),
        "the models', theatrical": _answers(_models(1.0), "models theatrical", seed),
        "neutral": _made(lambda rng: text.sound(frames, rng, polarity=0), "neutral", seed),
        "shuffled": _made(lambda rng: text.shuffled(frames, rng), "shuffled", seed),
        "word salad": _made(lambda rng: text.salad(frames, rng), "word salad", seed),
        "loop": _made(lambda rng: text.looped(frames, rng), "loop", seed),
        "stutter": _made(lambda rng: text.stutter(frames, rng), "stutter", seed),
        "empty": _made(lambda rng: text.empty(frames, rng), "empty", seed),
    }


def areas(judge: PocketJudge, seed: int) -> dict[str, float]:
    """Return areas under the ROC curve of naturalness, on frames that it was not trained on.

    "style" is of plain against theatrical answers, "models" the same on the models' frames,
    "broken" of plain answers against shuffled ones.
    """
    found = categories(seed)

    def area(plain: str, other: str) -> float:
        scores = judge.naturalness(found[plain] + found[other])
        return float(roc_auc_score([1] * ITEMS + [0] * ITEMS, np.asarray(scores, dtype=float)))

    return {
        "style": area("plain", "theatrical"),
        "models": area("the models', plain", "the models', theatrical"),
        "broken": area("plain", "shuffled"),
    }


def refuse_failures(found: Mapping[str, float], least: float) -> None:
    """Raise if plain answers are not told from theatrical and from shuffled ones.

    Raises:
        TraitsteerError: names the first area that is too small.
    """
    for name, area in found.items():
        if not area >= least:
            raise TraitsteerError(
                f"The pocket judge finds plain answers more natural ({name}) with an area of "
                f"{area:.3f}, expected at least {least}; give its ear more frames."
            )


def report(judge: PocketJudge, seed: int) -> str:
    """Return the part of docs/pocket_judge.md about naturalness."""
    found = areas(judge, seed)
    lines = [
        "",
        "## Naturalness",
        "",
        "Area under the ROC curve of naturalness, all on frames that it was not trained on; they",
        "share the lexicon with what it was trained on.",
        "",
        "| plain answers against | area |",
        "|---|---|",
        f"| theatrical ones | {found['style']:.3f} |",
        f"| theatrical ones, both of the models' grammar | {found['models']:.3f} |",
        f"| shuffled ones | {found['broken']:.3f} |",
        "",
        "| category | naturalness | 50 or more |",
        "|---|---|---|",
    ]
    for name, answers in categories(seed).items():
        scores = np.asarray(judge.naturalness(answers), dtype=float)
        share = 100 * np.mean(scores >= 50)
        lines.append(f"| {name} | {scores.mean():.1f} | {share:.0f} % |")
    return "\n".join(lines) + "\n"
