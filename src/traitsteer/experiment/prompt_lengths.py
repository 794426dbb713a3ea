"""How long the prompts of a study are, told by the models' tokenizers alone, and what they fit.

All prompts are encoded as the stages encode them: the longest text need not have the most tokens.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path

from traitsteer.engine.rows import check_length
from traitsteer.experiment.elicitation import sides_of
from traitsteer.experiment.models import open_prompts
from traitsteer.maths.positions import Position
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.model_config import ModelConfig
from traitsteer.words.records import Trait
from traitsteer.world.model.model_shape import ModelShape, shape_of
from traitsteer.world.model.prompts import Prompts
from traitsteer.world.trait_folder import read_lines

_SHOWN = 40
"""Characters of a prompt in a message."""


@dataclass(frozen=True)
class Counted:
    """One prompt of a study in a model's tokens, and how many may follow it."""

    of: str
    """What it is, such as a question of a trait."""
    name: str
    """The same, with how it begins."""
    tokens: int
    highest: int
    """The highest of its token ids; -1 of an empty one."""
    new_tokens: int
    ids: tuple[int, ...]


def elicited_by(config: Config, traits: Sequence[Trait], text: str) -> list[Counted]:
    """What the source model of an arm that elicits gets.

    Raises:
        TraitsteerError: the tokenizer cannot be read, or its chat template not be rendered.
    """
    arm, prompts = config.arm(text), open_prompts(config, config.source(text))
    plain = arm.elicitation == "natural"
    what = "A scenario" if plain else "An extraction question"
    most = config.elicit.max_new_tokens
    return [
        _prompt(prompts, f"{what} of {trait.name}", side.prompt, most, side.system, plain)
        for trait in traits
        for side in sides_of(trait, arm.elicitation)
    ]


def answered(config: Config, traits: Sequence[Trait]) -> list[Counted]:
    """What the steered model gets: the calibration, questions, neutral texts.

    Raises:
        TraitsteerError: as `elicited_by`, a file is missing, or a neutral text has no token that
            another one precedes.
    """
    instruct, most = config.models.instruct, config.answers.max_new_tokens
    prompts = open_prompts(config, instruct)
    calibration = Path(config.calibrate.questions)
    found = [
        _prompt(prompts, f"A question of {calibration}", line.text, most)
        for line in read_lines(calibration)
    ]
    for trait in traits:
        for kind in ("selection", "report"):
            systems: list[str | None] = [None]
            if kind == "report" and instruct.chat:
                systems += [pair.positive for pair in trait.system_prompts]
            found += [
                _prompt(prompts, f"A {kind} question of {trait.name}", text, most, system)
                for system, text in product(systems, getattr(trait, kind))
            ]
    return [*found, *_neutral(Path(config.cross.neutral), prompts)]


def check_model(config: Config, which: ModelConfig, asked: Iterable[Counted]) -> None:
    """Refuse prompts that a model cannot take, or that leave no room for a response.

    Raises:
        TraitsteerError: one is empty, is longer with its response than the model can tell positions
            apart, or has a token that the model does not know.
    """
    shape = shape_of(which.name, which.revision, config.models.trust_remote_code)
    for prompt in asked:
        _check(shape, which, prompt)


def check_position(config: Config, arm: str, asked: Sequence[Counted]) -> None:
    """Refuse a position of an arm that can hold no token, however long the responses are.

    And one in the prompt up to which the tokens of both sides are the same in a trait's pairs.

    Args:
        asked: the prompts of the arm's text, both sides of each contrast pair after each other.

    Raises:
        TraitsteerError: it cannot be parsed or holds none; of a position in the prompt, none of one
            of the prompts, or nothing that tells the sides of any pair of a trait apart.
    """
    position, most = Position.parse(config.arm(arm).position), config.elicit.max_new_tokens
    if position.part == "prompt":
        for prompt in asked:
            if not position.tokens(prompt.tokens, 1):
                raise TraitsteerError(
                    f"{prompt.name} has {prompt.tokens} tokens, none of them at "
                    f"arms.{arm}.position {str(position)!r}; widen the position or lengthen the "
                    "prompt."
                )
        for of, prompts in groupby(asked, key=lambda prompt: prompt.of):
            upto = [p.ids[: max(position.tokens(p.tokens, 1)) + 1] for p in prompts]
            if upto[::2] == upto[1::2]:
                raise TraitsteerError(
                    f"{of} has at arms.{arm}.position {str(position)!r}, and before it, the same "
                    "tokens in both sides of every contrast pair, so that no vector can tell them "
                    "apart; name a later position."
                )
        return
    lengths = {prompt.tokens for prompt in asked}
    if not any(position.tokens(*each) for each in product(lengths, range(1, most + 1))):
        raise TraitsteerError(
            f"arms.{arm}.position is {str(position)!r}, which holds no token of any response of up "
            f"to elicit.max_new_tokens = {most}; name an earlier position or raise that."
        )


def _neutral(path: Path, prompts: Prompts) -> Iterator[Counted]:
    for number, line in enumerate(read_lines(path), start=1):
        found = _prompt(prompts, f"The text {number} of {path}", line.text, 0, plain=True)
        if found.tokens < 2:
            raise TraitsteerError(
                f"{found.name} is {found.tokens} token of {prompts.name}, expected 2 or more, "
                "since each is told from those before it; lengthen the text."
            )
        yield found


def _prompt(
    prompts: Prompts,
    name: str,
    text: str,
    new_tokens: int,
    system: str | None = None,
    plain: bool = False,
) -> Counted:
    ids = prompts.encode(text, system, plain)
    under = "" if system is None else " under a system prompt"
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    highest = max(ids, default=-1)
    return Counted(name, f"{name}{under} ({shown!r})", len(ids), highest, new_tokens, ids)


def _check(shape: ModelShape, which: ModelConfig, prompt: Counted) -> None:
    check_length(prompt.name, which.name, shape.context, prompt.tokens, prompt.new_tokens)
    if prompt.highest >= shape.vocabulary:
        raise TraitsteerError(
            f"{prompt.name} has token {prompt.highest} by the tokenizer of {which.name}, which "
            f"embeds {shape.vocabulary}; save the model with the tokenizer that it was trained "
            "with, or resize its embeddings to the tokenizer."
        )
