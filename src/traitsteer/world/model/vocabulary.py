"""What the tokens of a judge's vocabulary read as, and which of them matter to numbers."""

from typing import Any

from traitsteer.maths.expectation import Heard, Numerals


class Vocabulary:
    """What each token reads as, and which of them matter to numbers."""

    def __init__(self, tokenizer: Any, size: int) -> None:  # noqa: ANN401 - of transformers
        # A token alone may lose the space in front of it, so it is read after another.
        anchor = tokenizer("a", add_special_tokens=False)["input_ids"][-1]
        before = tokenizer.decode([anchor])
        ids = range(min(size, len(tokenizer)))
        pairs = tokenizer.batch_decode([[anchor, each] for each in ids])
        texts = [pair.removeprefix(before) for pair in pairs]
        self.ids = [i for i in ids if texts[i] and _may_begin(texts[i].strip())]
        """Tokens that may begin a number or make it go on, or be the space before it."""
        self.texts = [texts[i] for i in self.ids]
        self.digits = [at for at, text in enumerate(self.texts) if _is_digit(text[0])]
        """Those, as places in `ids`, that make a number go on."""
        self._known: dict[tuple[frozenset[str], str], list[tuple[int, Heard]]] = {}

    def heard(self, numerals: Numerals, digits: str) -> list[tuple[int, Heard]]:
        """What the tokens make of these digits, by place in `ids`; those that end them left out."""
        key = (numerals.texts, digits)
        if key not in self._known:
            places = self.digits if digits else range(len(self.ids))
            heard = [(at, numerals.hear(digits, self.texts[at])) for at in places]
            self._known[key] = [(at, each) for at, each in heard if each.kind != "other"]
        return self._known[key]


def _is_digit(character: str) -> bool:
    return character in "0123456789"


def _may_begin(text: str) -> bool:
    return not text or _is_digit(text[0])
