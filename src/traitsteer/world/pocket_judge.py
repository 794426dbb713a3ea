"""The embedded judge: scores answers of the embedded world for a trait and for coherence, 0-100.

A folder holds `judge.json` (the words it knows, the names of its features), `judge.safetensors`
(logistic weights) and `voice.json`. Numpy only; nothing is executed from the files.

Trait: a logistic model sorts each sentence into shows / opposes / neither from the order of signed
word classes, negations and quotation marks in it; with P, N, O the summed probabilities of the
three over the sentences, the score is 100 P / (P + N + 0.15 O).
Coherence: 100 x order x variety x topic, three logistic factors in [0, 1]: does the order of parts
of speech occur in English, does the text repeat itself, are its topic words those of the question.
Naturalness: 100 x order x variety x plain speech (pocket_voice.py, from `voice.json`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load_file

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer, Judgement
from traitsteer.world import pocket_voice
from traitsteer.world.pocket_voice import PocketVoice, preference

Array = np.ndarray[Any, np.dtype[np.float64]]

QUOTE, NOT, TOLD = "quote", "not", "told"
MARKS = (QUOTE, NOT, TOLD, "A+", "A-", "B+", "B-")
_NEITHER_WEIGHT = 0.15
_TOKEN = re.compile(r"[a-z']+|\d+|[^\w\s]", re.IGNORECASE)
_SENTENCE_END = re.compile(r"""(?<=[.!?])\s+|(?<=[.!?]")\s+(?=[A-Z"])""")
_MOST_MARKS = 8
EDGE = "<edge>"
FIXED_PARTS = (EDGE, "number", "unknown", *'.,:?!";')
PHRASES: tuple[tuple[str, ...], ...] = tuple(
    combination
    for size in (1, 2, 3)
    for combination in (
        tuple(MARKS[i // len(MARKS) ** p % len(MARKS)] for p in range(size))
        for i in range(len(MARKS) ** size)
    )
)
_PHRASE_INDEX = {phrase: index for index, phrase in enumerate(PHRASES)}
ORDER_FEATURES = (
    "unlikely",
    "new pairs",
    "root new pairs",
    "new threes",
    "unknown",
    "few words",
    "odd sentences",
    "run-on",
)
VARIETY_FEATURES = ("repeated threes", "doubled words", "doubled sentences", "few types")
TOPIC_FEATURES = ("foreign", "root foreign", "none", "sparse")


def tokens(text: str) -> list[str]:
    """Return the words, numbers and punctuation marks of a text, in lower case."""
    return [token.lower() for token in _TOKEN.findall(text)]


def sentences(text: str) -> list[str]:
    """Split a text after full stops, question and exclamation marks; empty text gives none."""
    return [part for part in _SENTENCE_END.split(text.strip()) if part]


class Words:
    """What the judge knows of words: marks by trait, part of speech, topic.

    `known` is the content of judge.json under "words": {"marks": {trait: {word: mark}},
    "speech": {word: part}, "topics": {word: topic}}.
    """

    def __init__(self, known: dict[str, Any]) -> None:
        self.marks: dict[str, dict[str, str]] = known["marks"]
        self.speech: dict[str, str] = known["speech"]
        self.topics: dict[str, str] = known["topics"]

    def part(self, token: str) -> str:
        """Return the part of speech of a token; marks stand for themselves."""
        if token.isdigit():
            return "number"
        if not token[0].isalpha():
            return token if token in '.,:?!";' else "unknown"
        return self.speech.get(token, "unknown")

    def sentence_marks(self, trait: str, text: str) -> list[list[str]]:
        """Return the trait's marks of each sentence in order; one begun inside quotes says so."""
        table, rows, quoted = self.marks[trait], [], False
        for sentence in sentences(text):
            row = [QUOTE] if quoted else []
            for token in tokens(sentence):
                if token == '"':
                    quoted = not quoted
                    row.append(QUOTE)
                elif token in table:
                    row.append(table[token])
            rows.append(row[:_MOST_MARKS])
        return rows


@lru_cache(maxsize=65536)
def _phrases(marks: tuple[str, ...]) -> tuple[int, ...]:
    found = {_PHRASE_INDEX[c] for size in (1, 2, 3) for c in combinations(marks, size)}
    return tuple(sorted(found))


def trait_features(marks: Sequence[Sequence[str]]) -> Float[np.ndarray, "sentences phrases"]:
    """Return which ordered choices of up to three marks each sentence holds, as 0 and 1."""
    features = np.zeros((len(marks), len(PHRASES)))
    for index, row in enumerate(marks):
        features[index, list(_phrases(tuple(row)))] = 1.0
    return features


class Order:
    """How often parts of speech followed each other: counts of threes, `(a, b, c)`, dampened."""

    def __init__(self, parts: Sequence[str], table: Float[np.ndarray, "a b c"]) -> None:
        self.index = {part: i for i, part in enumerate(parts)}
        size = len(parts)
        two, one = table.sum(axis=0), table.sum(axis=(0, 1))
        first = (one + 1.0 / size) / (one.sum() + 1.0)
        second = (two + 2.0 * first) / (two.sum(axis=1, keepdims=True) + 2.0)
        third = (table + 6.0 * second) / (table.sum(axis=2, keepdims=True) + 6.0)
        self.logs = np.log(third)
        self.new_pair, self.new_three = two == 0, table == 0

    def read(self, parts: Sequence[str]) -> tuple[Array, Array, Array]:
        """Return for each part its log probability given its two forerunners (interpolated over
        shorter contexts), and whether it makes a pair and a three that never occurred.
        """
        edge = self.index[EDGE]
        codes = np.asarray([edge, edge, *(self.index[part] for part in parts)])
        a, b, c = codes[:-2], codes[1:-1], codes[2:]
        return self.logs[a, b, c], self.new_pair[b, c], self.new_three[a, b, c]


def order_features(words: Words, order: Order, text: str) -> list[float]:
    """Return the ORDER_FEATURES of a text that has at least one token."""
    found = tokens(text)
    parts = [words.part(token) for token in found]
    logs, pairs, threes = order.read(parts)
    count = sum(token[0].isalnum() for token in found)
    new = float(np.mean(pairs))
    return [
        float(np.clip(-3.5 - logs, 0.0, 5.0).mean()),
        new,
        new**0.5,
        float(np.mean(threes)),
        parts.count("unknown") / len(parts),
        max(0.0, (5 - count) / 5),
        *_sentence_features(text),
    ]


def _sentence_features(text: str) -> tuple[float, float]:
    """Return the share of sentences that begin small or end at once, and the longest's excess."""
    found = sentences(text)
    lengths = [sum(token[0].isalnum() for token in tokens(each)) for each in found]
    odd = [
        each.lstrip('"')[:1].islower() or (length < 3 and index + 1 < len(found))
        for index, (each, length) in enumerate(zip(found, lengths, strict=True))
    ]
    return sum(odd) / max(len(found), 1), max(0.0, max(lengths, default=0) / 18 - 1.0)


def variety_features(text: str) -> list[float]:
    """Return the VARIETY_FEATURES of a text that has at least one token."""
    words = [token for token in tokens(text) if token[0].isalnum()]
    if not words:
        return [1.0, 1.0, 1.0, 1.0]
    threes = Counter(zip(words, words[1:], words[2:], strict=False))
    total = max(sum(threes.values()), 1)
    repeated = sum(count - 1 for count in threes.values()) / total
    doubled = sum(a == b for a, b in pairwise(words)) / len(words)
    parts = [" ".join(tokens(part)) for part in sentences(text)]
    twice = (len(parts) - len(set(parts))) / len(parts)
    # A text of n words is expected to hold about n^0.8 types.
    few = max(0.0, 1.0 - len(set(words)) / len(words) ** 0.85)
    return [repeated, doubled**0.5, twice, few]


def question_topics(words: Words, question: str) -> set[str]:
    """Return the topics that most words of a question or scenario belong to; empty if none does."""
    counts = Counter(words.topics[t] for t in tokens(question) if t in words.topics)
    most = max(counts.values(), default=0)
    return {topic for topic, count in counts.items() if count == most}


def topic_features(words: Words, question: str, text: str) -> list[float]:
    """Return the TOPIC_FEATURES of an answer; all 0 where the question has no known topic."""
    asked = question_topics(words, question)
    if not asked:
        return [0.0, 0.0, 0.0, 0.0]
    found = [words.topics[t] for t in tokens(text) if t in words.topics]
    own = sum(topic in asked for topic in found)
    foreign = (len(found) - own) / max(len(found), 1)
    length = sum(t[0].isalnum() for t in tokens(text))
    none = float(own == 0) * min(length / 10, 1.0)
    return [foreign, foreign**0.5, none, max(0.0, min(length / 12, 3.0) - own) / 3]


def _logistic(values: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -60.0, 60.0))))


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
        digest = hashlib.sha256(Path(__file__).read_bytes())
        digest.update(Path(pocket_voice.__file__).read_bytes())
        try:
            for file in files:
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
        return float(_logistic(np.asarray(logit)).item())

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
