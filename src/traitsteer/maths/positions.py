"""Positions: which tokens of a prompt and its response are pooled.

A position is written as a part and a Python index or slice: `response[:10]`, `response[:]`,
`prompt[-1]`, `all[2:-2]`. The prompt is tokens `[0, prompt_length)`, the response
`[prompt_length, prompt_length + response_length)`, `all` is both. A window that reaches past the
end selects what there is; a window that selects nothing is an error.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.shapes import Bool, Float, Int

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

    def select(self, prompt_length: int, response_length: int, name: str) -> range:
        """Indices of the pooled tokens, counted from the first token of the prompt.

        `name` says in the error whose tokens they are. Raises TraitsteerError when none is left.
        """
        offset = prompt_length if self.part == "response" else 0
        length = {
            "prompt": prompt_length,
            "response": response_length,
            "all": prompt_length + response_length,
        }[self.part]
        indices = slice(self.start, self.stop, self.step).indices(length)
        selected = range(*indices)
        if not selected:
            raise self._nothing(name, prompt_length, response_length)
        return range(selected.start + offset, selected.stop + offset, selected.step)

    def _nothing(self, name: str, prompt_length: int, response_length: int) -> TraitsteerError:
        return TraitsteerError(
            f"{name}: position {self} selects no token of {prompt_length} prompt and "
            f"{response_length} response tokens; leave this row out or widen the position"
        )


def pooling_weights(
    position: Position,
    prompt_lengths: Int[Tensor, " n"],
    response_lengths: Int[Tensor, " n"],
    starts: Int[Tensor, " n"],
    padded_length: int,
    names: Sequence[str],
) -> Float[Tensor, "n length"]:
    """Weights that pool a padded batch to the mean of its selected tokens, as one matrix product.

    `starts` is the column of each row's first token (0 with right padding), `padded_length` the
    number of columns. Rows are float32 and sum to 1; padding has weight 0. Raises TraitsteerError
    with the row's name when a row selects nothing or does not fit into the batch.
    """
    tokens = prompt_lengths + response_lengths
    for row in (starts + tokens > padded_length).nonzero().flatten().tolist():
        raise TraitsteerError(
            f"{names[row]}: its tokens end at column {int(starts[row] + tokens[row])}, past the "
            f"{padded_length} columns of the batch; pass the padded length of this batch"
        )
    offset = prompt_lengths if position.part == "response" else torch.zeros_like(starts)
    length = {"prompt": prompt_lengths, "response": response_lengths, "all": tokens}[position.part]
    columns = torch.arange(padded_length, device=starts.device)
    selected = _selected(position, columns[None] - (starts + offset)[:, None], length[:, None])
    counts = selected.sum(dim=1, keepdim=True)
    for row in (counts[:, 0] == 0).nonzero().flatten().tolist():
        raise position._nothing(names[row], int(prompt_lengths[row]), int(response_lengths[row]))
    return selected.float() / counts


def _selected(
    position: Position, index: Int[Tensor, "n length"], size: Int[Tensor, "n 1"]
) -> Bool[Tensor, "n length"]:
    """What `slice.indices` selects, where `index` counts within a part of `size` tokens."""
    forward = position.step > 0
    lowest = torch.zeros_like(size) if forward else torch.full_like(size, -1)
    highest = size if forward else size - 1
    first, last = (lowest, highest) if forward else (highest, lowest)

    def end(value: int | None, default: Tensor) -> Tensor:
        if value is None:
            return default
        counted = size + value if value < 0 else torch.full_like(size, value)
        return torch.minimum(torch.maximum(counted, lowest), highest)

    start, stop = end(position.start, first), end(position.stop, last)
    within = (index >= start) & (index < stop) if forward else (index <= start) & (index > stop)
    return within & ((index - start) % abs(position.step) == 0)
