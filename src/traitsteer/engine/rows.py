"""What the engine is asked for and what it gives back: rows in, responses out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Finish
from traitsteer.words.shapes import Float
from traitsteer.world.model.language_model import LanguageModel

Steered = Literal["all", "prompt", "response"]
_SEEDS = 2**63
"""Seeds are int64."""


@dataclass(frozen=True, eq=False)
class Steering:
    """Add `coefficient * vector` to the output of block `layer` at the steered positions."""

    layer: int
    vector: Float[Tensor, " width"]
    """float32, norm 1."""
    coefficient: float
    """L2 length of what is added, in residual-stream units."""
    positions: Steered = "all"


@dataclass(frozen=True, eq=False)
class Row:
    """One response to generate: a prompt with its own setting and seed."""

    prompt_ids: tuple[int, ...]
    seed: int
    steering: Steering | None = None

    @property
    def applied(self) -> Steering | None:
        """The steering, unless it adds nothing."""
        return self.steering if self.steering and self.steering.coefficient != 0 else None

    def steered(self, part: Literal["prompt", "response"]) -> Steering | None:
        """The steering of this part of the row's tokens, if there is any."""
        applied = self.applied
        return applied if applied and applied.positions in ("all", part) else None


@dataclass(frozen=True)
class Sampling:
    """Length and temperature of responses; temperature 0 is greedy."""

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    cut_loops: bool = False
    """Whether a response that repeats itself ends there (see `sampling.looping`)."""

    def __post_init__(self) -> None:
        """Raises TraitsteerError where a value lies outside its range."""
        warm = 0 <= self.temperature < math.inf
        if self.max_new_tokens < 1 or not warm or not 0 < self.top_p <= 1:
            raise TraitsteerError(
                f"Sampling has max_new_tokens {self.max_new_tokens}, temperature "
                f"{self.temperature:g} and top_p {self.top_p:g}; expected 1 or more, 0 or more, "
                "and a number above 0 up to 1."
            )


@dataclass(frozen=True)
class Batching:
    """What is decoded together: it changes speed and memory, and in 16 bits the rounding."""

    rows: int
    """Most rows at once; halved when the memory of a GPU runs out."""
    tokens: int = 8192
    """Most prompt tokens of one forward pass, of one row at least."""
    capture: bool | None = None
    """Whether a step is a CUDA graph; None: where it can be, on one GPU."""

    def __post_init__(self) -> None:
        """Raises TraitsteerError where there is no room for a row."""
        if self.rows < 1 or self.tokens < 1:
            raise TraitsteerError(
                f"Batching has {self.rows} rows and {self.tokens} tokens; expected 1 or more each."
            )


@dataclass(frozen=True)
class Generated:
    """The response ids of one row, without the token that ended it."""

    ids: tuple[int, ...]
    finish: Finish


def check(model: LanguageModel, rows: Sequence[Row], new_tokens: int = 0) -> None:
    """Refuse rows that cannot be generated.

    Args:
        new_tokens: most tokens of a response.

    Raises:
        TraitsteerError: a row has an empty prompt or one that is not of the model's token ids, is
            longer than the model can tell positions apart, or its steering does not fit the model.
    """
    for index, row in enumerate(rows):
        check_row(model, f"Row {index}", row, new_tokens)


def check_row(model: LanguageModel, name: str, row: Row, new_tokens: int) -> None:
    """Refuse one row, by its name; raises as `check` does."""
    check_length(name, model.name, model.context, len(row.prompt_ids), new_tokens)
    check_ids(model, name, row.prompt_ids)
    if not 0 <= row.seed < _SEEDS:
        raise TraitsteerError(f"{name} has the seed {row.seed}; expected 0 up to {_SEEDS - 1}.")
    steering = row.steering
    if steering is None:
        return
    if steering.positions not in get_args(Steered):
        raise TraitsteerError(
            f"{name} is steered at {steering.positions!r}; expected one of "
            f"{', '.join(get_args(Steered))}."
        )
    if not 0 <= steering.layer < model.layers:
        raise TraitsteerError(
            f"{name} is steered at layer {steering.layer}; {model.name} has layers 0 to "
            f"{model.layers - 1}."
        )
    if tuple(steering.vector.shape) != (model.width,):
        raise TraitsteerError(
            f"{name} has a vector of shape {tuple(steering.vector.shape)}; the residual stream of "
            f"{model.name} has width {model.width}."
        )


def check_ids(model: LanguageModel, name: str, ids: Sequence[int]) -> None:
    """Raise TraitsteerError when the model embeds no such token id."""
    least, most = min(ids, default=0), max(ids, default=0)
    if least < 0 or most >= model.vocabulary:
        raise TraitsteerError(
            f"{name} has the token id {least if least < 0 else most}; {model.name} has ids 0 to "
            f"{model.vocabulary - 1}: encode the text with the tokenizer of this model."
        )


def check_length(
    name: str, model: str, context: int | None, prompt_tokens: int, new_tokens: int
) -> None:
    """Refuse one prompt by its length; `name` and `model` stand in the message.

    Args:
        context: most tokens of a prompt and its response together; None: the model has no limit.

    Raises:
        TraitsteerError: the prompt is empty, or longer with its response than the context.
    """
    if not prompt_tokens:
        raise TraitsteerError(f"{name} has an empty prompt; give it at least one token.")
    if context is not None and prompt_tokens + new_tokens > context:
        raise TraitsteerError(
            f"{name} has {prompt_tokens} prompt and up to {new_tokens} response tokens; "
            f"{model} takes {context} together: shorten the prompt or the response "
            "(max_new_tokens)."
        )


def side_by_side(rows: Sequence[Row], order: Sequence[int], window: int) -> list[int]:
    """The rows of `order`, equal prompts side by side within each `window` of them.

    So prompts are shared, and rows that come first still finish first.
    """
    prompts = [rows[index].prompt_ids for index in order]
    places = sorted(
        range(len(order)), key=lambda at: (at // window, len(prompts[at]), prompts[at], at)
    )
    return [order[place] for place in places]


def no_numbers(model: LanguageModel, row: Row) -> TraitsteerError:
    """What to say of a row that has logits of NaN or infinity."""
    steering, setting = row.steering, "unsteered"
    if steering is not None and steering.coefficient != 0:
        setting = f"steered at layer {steering.layer} with coefficient {steering.coefficient:.4g}"
    return TraitsteerError(
        f"{model.name} in {str(model.dtype).removeprefix('torch.')} gave logits that are not "
        f"finite for a row that is {setting}; load it in bfloat16 or float32, or steer it less."
    )


def too_large(model: LanguageModel, row: Row, new_tokens: int) -> TraitsteerError:
    """What to say of a row for which memory ran out although it was alone."""
    return TraitsteerError(
        f"One row of {len(row.prompt_ids)} prompt and at most {new_tokens} response tokens does "
        f"not fit into memory beside {model.name}; choose a smaller model or dtype, or shorter "
        "responses."
    )
