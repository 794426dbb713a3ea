"""The embedded judge: scores answers of the embedded world for a trait and for coherence, 0-100.

A folder holds `judge.json` (the words it knows, the names of its features), `judge.safetensors`
(logistic weights) and `voice.json`. Numpy only; nothing is executed from the files.

Trait: a logistic model sorts each sentence into shows / opposes / neither from the order of signed
word classes, negations and quotation marks in it; with P, N, O the summed probabilities of the
three over the sentences, the score is 100 P / (P + N + 0.15 O) (pocket_features.py).
Coherence: 100 x order x variety x topic, three logistic factors in [0, 1]: does the order of parts
of speech occur in English (pocket_order.py), does the text repeat itself, are its topic words those
of the question.
Naturalness: 100 x order x variety x plain speech (pocket_voice.py, from `voice.json`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer, Judgement
from traitsteer.world import pocket_features, pocket_order, pocket_voice
from traitsteer.world.pocket_features import (
    Words,
    sentences,
    tokens,
    topic_features,
    trait_features,
    variety_features,
)
from traitsteer.world.pocket_order import Order, order_features
from traitsteer.world.pocket_voice import PocketVoice, preference

_NEITHER_WEIGHT = 0.15


class PocketJudge:
    """The judge of the embedded world; `digest` is the SHA-256 of its files and its modules."""

    def __init__(
        self,
        known: dict[str, Any],
        weights: dict[str, np.ndarray],
        voice: PocketVoice,
        digest: str = "",
    ) -> None:
        self.voice = voice
        self.words = Words(known["words"])
        self.order = Order(known["parts"], weights["order.table"].astype(np.float64))
        self.weights = {
            name: value.astype(np.float64)
            for name, value in weights.items()
            if name != "order.table"
        }
        self.traits: tuple[str, ...] = tuple(known["traits"])
        self.digest = digest

    @classmethod
    def from_folder(cls, path: str | Path) -> PocketJudge:
        """Read a judge.

        Raises:
            TraitsteerError: a file is missing or unreadable.
        """
        folder = Path(path)
        files = (folder / "judge.json", folder / "judge.safetensors", folder / "voice.json")
        modules = (pocket_features, pocket_order, pocket_voice)
        code = (Path(__file__), *(Path(module.__file__ or "") for module in modules))
        digest = hashlib.sha256()
        try:
            for file in (*code, *files):
                digest.update(file.read_bytes())
            known = json.loads(files[0].read_text(encoding="utf-8"))
            voice = PocketVoice(json.loads(files[2].read_text(encoding="utf-8")))
            return cls(known, load_file(files[1]), voice, digest.hexdigest())
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            SafetensorError,
        ) as error:
            raise TraitsteerError(
                f"{folder} holds no readable pocket judge ({error}); run the stage `pocket_judge` "
                "or check out its files."
            ) from error

    def score(self, trait: str, answers: Sequence[Answer]) -> list[Judgement]:
        """Return trait score and coherence of each answer; neither depends on the others.

        Raises:
            TraitsteerError: the judge was not trained for this trait.
        """
        if trait not in self.traits:
            raise TraitsteerError(
                f"The pocket judge knows {', '.join(self.traits)}, not {trait!r}; choose one of "
                "these or another judge."
            )
        return [
            Judgement(self.trait_score(trait, answer.text), self.coherence(answer))
            for answer in answers
        ]

    def trait_score(self, trait: str, text: str) -> float:
        """Return 100 P / (P + N + 0.15 O) over the sentences; 0 for an empty text."""
        marks = self.words.sentence_marks(trait, text)
        if not marks:
            return 0.0
        logits = trait_features(marks) @ self.weights[f"{trait}.weight"]
        logits = logits + self.weights[f"{trait}.bias"]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        shows, opposes, neither = shares.sum(axis=0)
        return float(100.0 * shows / (shows + opposes + _NEITHER_WEIGHT * neither))

    def factors(self, answer: Answer) -> tuple[float, float, float]:
        """Return the three factors of coherence (order, variety, topic), each in [0, 1]."""
        if not tokens(answer.text):
            return 0.0, 0.0, 0.0
        words, text = self.words, answer.text
        return (
            self._factor("order", order_features(words, self.order, text)),
            self._factor("variety", variety_features(text)),
            self._factor("topic", topic_features(words, answer.question, text)),
        )

    def _factor(self, name: str, features: list[float]) -> float:
        logit = np.dot(features, self.weights[f"{name}.weight"]) + self.weights[f"{name}.bias"]
        return float(1.0 / (1.0 + np.exp(-np.clip(logit, -60.0, 60.0))))

    def coherence(self, answer: Answer) -> float:
        """Return 100 times the product of the three factors; 0 for an empty text."""
        order, variety, topic = self.factors(answer)
        return 100.0 * order * variety * topic

    def naturalness(self, answers: Sequence[Answer]) -> list[float | None]:
        """Return how much each answer sounds like plain speech, 0 to 100; broken text does not."""
        return [self._natural(answer) for answer in answers]

    def prefer(self, pairs: Sequence[tuple[Answer, Answer]]) -> list[float | None]:
        """Return 1.0 where the first answer sounds clearly more natural, 0.0 where the second."""
        return [preference(self._natural(one), self._natural(other)) for one, other in pairs]

    def _natural(self, answer: Answer) -> float:
        order, variety, _ = self.factors(answer)
        spoken = [tokens(sentence) for sentence in sentences(answer.text)]
        return 100.0 * order * variety * self.voice.natural(spoken)
