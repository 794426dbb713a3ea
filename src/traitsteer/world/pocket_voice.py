"""The embedded judge's ear for style: is a sentence plain speech or a performance.

A logistic model of five features of a sentence's wording, with the words that they count, in
`voice.json`. It knows no topics and no sentence frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

FEATURES = ("cry", "opening", "lofty", "archaic", "exclaimed")
_MOST = 2
TIE = 10.0
"""Points of naturalness by which an answer must lead to be preferred."""


class PocketVoice:
    """Style of sentences. `known` is the content of voice.json: under "words" the lists "cries"
    (ah, hark), "lofty" (the grand signed words) and "archaic" (thou, doth), under "weights" one
    number for each of FEATURES, and "bias".
    """

    def __init__(self, known: dict[str, Any]) -> None:
        self.cries, self.lofty, self.archaic = (
            frozenset(known["words"][kind]) for kind in ("cries", "lofty", "archaic")
        )
        self.weights: list[float] = [float(known["weights"][name]) for name in FEATURES]
        self.bias = float(known["bias"])

    def features(self, sentence: Sequence[str]) -> list[float]:
        """Return the FEATURES of a sentence, given as words and marks in small letters.

        Whether it opens with a cry, or with one word and a comma; its lofty and archaic words, at
        most two of each; whether it holds an exclamation mark.
        """
        first = next((token for token in sentence if token[0].isalpha()), "")
        return [
            float(first in self.cries),
            float(list(sentence[1:2]) == [","]),
            float(min(_MOST, sum(token in self.lofty for token in sentence))),
            float(min(_MOST, sum(token in self.archaic for token in sentence))),
            float("!" in sentence),
        ]

    def plain(self, sentence: Sequence[str]) -> float:
        """Return the probability that the sentence is plain speech."""
        rows = zip(self.weights, self.features(sentence), strict=True)
        return 1.0 / (1.0 + math.exp(self.bias + sum(weight * value for weight, value in rows)))

    def natural(self, sentences: Sequence[Sequence[str]]) -> float:
        """Return the mean probability of plain speech over the sentences, in [0, 1]; 0 for none."""
        return sum(map(self.plain, sentences)) / len(sentences) if sentences else 0.0


def preference(first: float, second: float) -> float:
    """Return 1.0 where the first score leads by more than TIE, 0.0 where the second does, or 0.5.

    It looks at scores alone, so that the order of asking cannot matter.
    """
    return 0.5 if abs(first - second) <= TIE else float(first > second)
