"""Parts a response into the reasoning that comes first, where a model reasons, and the answer."""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Thinking:
    """The marks around the reasoning, as text."""

    start: str
    end: str


@dataclass(frozen=True)
class Parts:
    """The token ids of one response in two parts; one after the other they are the response."""

    reasoning: tuple[int, ...]
    """The marks and the white space after them included; empty where there is no reasoning."""
    answer: tuple[int, ...]
    answered: bool
    """False where the reasoning goes on to the end of the response, or nothing follows it."""


def parts(
    tokenizer: Any,  # noqa: ANN401 - a tokenizer of transformers
    thinking: Thinking | None,
    prompt_ids: tuple[int, ...],
    ids: tuple[int, ...],
) -> Parts:
    """Part a response at the token that completes the first end mark.

    There is reasoning where the prompt ends in an open start mark (some templates open it), where
    the response begins with one, or where it holds an end mark (some templates drop the start). No
    text is encoded: a mark may be one token or many, or share a token with what surrounds it.
    """
    if thinking is None:
        return Parts((), ids, True)

    def text(some: tuple[int, ...]) -> str:
        return str(tokenizer.decode(list(some), skip_special_tokens=False))

    whole = text(ids)
    if thinking.end not in whole:
        asked = text(prompt_ids)
        opened = asked.rfind(thinking.start) > asked.rfind(thinking.end)
        # What is left of a start mark that was cut is no answer either.
        begun = whole.lstrip()[: len(thinking.start)]
        started = begun != "" and thinking.start.startswith(begun)
        return Parts(ids, (), False) if opened or started else Parts((), ids, True)
    end = bisect_left(range(len(ids)), True, key=lambda at: thinking.end in text(ids[: at + 1])) + 1
    while end < len(ids) and not text(ids[end : end + 1]).strip():
        end += 1
    return Parts(ids[:end], ids[end:], end < len(ids))
