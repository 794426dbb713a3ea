"""What the embedded judge sees in a text: signed words in order, repetition, topics.

The words that it knows come from `judge.json`; order is in `pocket_order.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

QUOTE, NOT, TOLD = "quote", "not", "told"
MARKS = (QUOTE, NOT, TOLD, "A+", "A-", "B+", "B-")
_TOKEN = re.compile(r"[a-z']+|\d+|[^\w\s]", re.IGNORECASE)
_SENTENCE_END = re.compile(r"""(?<=[.!?])\s+|(?<=[.!?]")\s+(?=[A-Z"])""")
_MOST_MARKS = 8
PHRASES: tuple[tuple[str, ...], ...] = tuple(
    combination
    for size in (1, 2, 3)
    for combination in (
        tuple(MARKS[i // len(MARKS) ** p % len(MARKS)] for p in range(size))
        for i in range(len(MARKS) ** size)
    )
)
_PHRASE_INDEX = {phrase: index for index, phrase in enumerate(PHRASES)}
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
