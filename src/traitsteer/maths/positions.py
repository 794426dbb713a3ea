"""Positions: which tokens of a prompt and its response are pooled.

A position is written as a part and a Python index or slice: `response[:10]`, `response[:]`,
`prompt[-1]`, `all[2:-2]`. The prompt is tokens `[0, prompt_length)`, the response the last
`response_length` tokens, `all` is both and what a model reasoned between them. A window that
reaches past the end selects what there is; a window that selects nothing is an error.
"""

import re
from dataclasses import dataclass
from typing import Literal, cast

from traitsteer.words.errors import TraitsteerError

Part = Literal["prompt", "response", "all"]

_INTEGER = r"\s*(-?\d+)?\s*"
_PATTERN = re.compile(
    rf"(prompt|response|all)\[(?:\s*(-?\d+)\s*|{_INTEGER}:{_INTEGER}(?::{_INTEGER})?)\]"
)


@dataclass(frozen=True)
class Position:
    """A part of the tokens and the slice of it that is pooled; a single index is a slice of one."""

    part: Part
    start: int | None
    stop: int | None
    step: int

    @staticmethod
    def parse(text: str) -> "Position":
        """Read a position such as `response[:10]`; raises TraitsteerError when it is not one."""
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise TraitsteerError(
                f"position {text!r} is not understood: expected prompt, response or all with an "
                "index or slice, such as response[:10] or prompt[-1]"
            )
        part = cast(Part, match[1])
        index, start, stop, step = (None if g is None else int(g) for g in match.groups()[1:])
        if index is not None:
            return Position(part, index, None if index == -1 else index + 1, 1)
        if step == 0:
            raise TraitsteerError(f"position {text!r} has step 0: expected any other step")
        return Position(part, start, stop, 1 if step is None else step)

    def __str__(self) -> str:
        start, stop = ("" if end is None else end for end in (self.start, self.stop))
        return f"{self.part}[{start}:{stop}{'' if self.step == 1 else f':{self.step}'}]"

    def tokens(self, prompt_length: int, response_length: int, reasoning_length: int = 0) -> range:
        """As `select`, but without any token where none is left."""
        offset = prompt_length + reasoning_length if self.part == "response" else 0
        length = {
            "prompt": prompt_length,
            "response": response_length,
            "all": prompt_length + reasoning_length + response_length,
        }[self.part]
        selected = range(*slice(self.start, self.stop, self.step).indices(length))
        return range(selected.start + offset, selected.stop + offset, selected.step)

    def select(
        self, prompt_length: int, response_length: int, name: str, reasoning_length: int = 0
    ) -> range:
        """Indices of the pooled tokens, counted from the first token of the prompt.

        `name` says in the error whose tokens they are; `reasoning_length` tokens lie between
        prompt and response. Raises TraitsteerError when none is left.
        """
        selected = self.tokens(prompt_length, response_length, reasoning_length)
        if not selected:
            raise TraitsteerError(
                f"{name}: position {self} selects no token of {prompt_length} prompt and "
                f"{response_length} response tokens; leave this row out or widen the position"
            )
        return selected
