"""The embedded judge's ear for order: which parts of speech follow each other in English.

Counts of three parts of speech in a row, dampened by shorter contexts, from `judge.safetensors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from traitsteer.world.pocket_features import Words, sentences, tokens

Array = np.ndarray[Any, np.dtype[np.float64]]

EDGE = "<edge>"
FIXED_PARTS = (EDGE, "number", "unknown", *'.,:?!";')
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
