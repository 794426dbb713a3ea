"""check: everything that can be refused before any expensive work; takes seconds.

Reads params.yaml, the trait folders and the models' configurations, and asks the judge; writes
nothing but what the judge said.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from traitsteer.experiment.calls import announce_study
from traitsteer.experiment.models import check_memory, check_vocabulary, differing_tokens
from traitsteer.experiment.prompt_lengths import (
    Counted,
    answered,
    check_model,
    check_position,
    elicited_by,
)
from traitsteer.experiment.small_texts import refuse_small_text
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.findings import listed
from traitsteer.words.model_config import ModelConfig
from traitsteer.words.pocket_limit import not_embedded
from traitsteer.words.protocol import refuse_few_questions, refuse_repeats
from traitsteer.words.records import Trait
from traitsteer.world.judge.finding import find_judge
from traitsteer.world.judge.identity import judge_name
from traitsteer.world.judge.judges import local_device, section_of_device
from traitsteer.world.model import memory, model_files, model_names
from traitsteer.world.model.devices import SPREAD, usable_device
from traitsteer.world.model.model_shape import shape_of
from traitsteer.world.model.weight_files import find_weights
from traitsteer.world.progress import say
from traitsteer.world.trait_folder import read_lines, trait_of


def run(config: Config) -> None:
    """Refuse what a study would stumble over later.

    Raises:
        TraitsteerError: a trait folder, the calibration set or the neutral texts cannot be read, a
            question or contrast pair stands twice, one side stands for both polarities, pairs share
            a side at temperature 0, a question set is too small for an error over questions, a text
            has fewer responses than vet.minimum or fewer groups of pairs than a method takes, the
            judge cannot be reached, does not know a trait or has no chat template, a model or its
            weights cannot be found, needs more memory than there is (that of a local judge counted)
            or has no blocks that can be found, instruction elicitation is asked of a model without
            a chat template, a prompt does not fit its model, a position cannot be parsed or holds
            no token, a text is read with another vocabulary than it was written with, or vectors of
            the source model do not fit the steered one.
    """
    refuse_no_template(config)
    traits = [trait_of(config, trait) for trait in config.study.traits]
    refuse_texts(config, traits)
    estimates = refuse_models(config, traits)
    for name in config.study.traits:
        find_judge(config, name)
    for remark in remarks(config, estimates):
        say(f"check: {remark}")
    announce_study(config)
    say(
        f"check: {len(config.study.traits)} traits, {len(config.study.arms)} arms, judge and models"
    )


def refuse_no_template(config: Config) -> None:
    """Raise TraitsteerError when instructions are asked of a model without a chat template."""
    for name in config.study.texts:
        if config.arm(name).elicitation == "instruction" and not config.source(name).chat:
            raise TraitsteerError(
                f"The arm {name!r} elicits by instruction from {config.source(name).name}, which "
                "has `chat: false`; set its source to a chat model."
            )


def refuse_texts(config: Config, traits: Sequence[Trait]) -> None:
    """Refuse files of texts that are empty, repeat themselves or hold too little.

    Raises:
        TraitsteerError: the calibration set or the neutral texts cannot be read or are empty, a
            question or contrast pair stands twice, one side stands for both polarities, pairs share
            a side at temperature 0, a question set is too small for an error over questions,
            vetting cannot keep enough of a text, or it has too few groups of pairs for a method.
    """
    for lines, what in (
        (config.calibrate.questions, "question"),
        (config.cross.neutral, "text"),
    ):
        if not read_lines(Path(lines)):
            raise TraitsteerError(f"{lines} holds no {what}, expected neutral ones, one a line.")
    for trait in traits:
        refuse_repeats(trait)
        refuse_few_questions(trait, config.search.margin)
        for name in config.study.texts:
            refuse_small_text(config, trait, name)


def refuse_models(config: Config, traits: Sequence[Trait]) -> list[str]:
    """Refuse models that cannot be read, that do not fit, or that cannot take what they are asked.

    Returns:
        What each model needs of the memory, as one line.

    Raises:
        TraitsteerError: weights cannot be found, need too much memory or have no blocks that can be
            found, a prompt does not fit its model, a position holds no token or tells no pair
            apart, or a model reads or is steered with what was made by one of another vocabulary
            or shape.
    """
    models = config.models
    for model in (models.base, models.instruct):
        find_weights(model.name, model.revision, models.trust_remote_code)
        model_files.require_generation(model.name, model.revision)
    # Before prompts are counted: of another vocabulary, their tokens say nothing of the model.
    for name in config.study.arms:
        check_vocabulary(config, name)
    elicited_as = {text: elicited_by(config, traits, text) for text in config.study.texts}
    questions = answered(config, traits)
    # Responses are elicited before a judge is loaded, and answers judged while they are given.
    estimates = []
    for model, also, beside in (
        (models.base, [], 0),
        (models.instruct, questions, judge_weights(config)),
    ):
        asked = [*prompts_of_model(config, model, elicited_as), *also]
        longest = max((prompt.tokens for prompt in asked), default=0)
        estimates.append(check_memory(config, model, longest, beside))
        check_model(config, model, asked)
    for name in config.study.arms:
        check_position(config, name, elicited_as[config.text(name)])
        refuse_other_shape(config, name)
    return estimates


def remarks(config: Config, estimates: Sequence[str]) -> Iterator[str]:
    """What a user should know of a study that nothing forbids.

    Raises:
        TraitsteerError: a model cannot be read.
    """
    if misplaced := judge_of_others(config):
        yield misplaced
    if doubt := tell_apart(config):
        yield doubt
    yield from estimates
    for model in (config.models.base, config.models.instruct):
        if commit := unpinned(model):
            yield f"{model.name} is at {commit}; write it as its revision to pin it"
    if missing := [name for name in ("instruction", "natural") if name not in config.study.arms]:
        yield f"the arms have no {' and no '.join(missing)}, so no two arms are compared"


def judge_of_others(config: Config) -> str | None:
    """One sentence where the pocket judge is to score what others than the embedded models write;
    None where it is not. It is not refused, since it serves to try the stages on any model.
    """
    models = config.models
    others = not_embedded(config.pocket.folder, (models.base.name, models.instruct.name))
    if config.judge.kind != "pocket" or not others:
        return None
    return (
        f"ATTENTION: judge.kind is pocket for {listed(others)}, outside pocket.folder = "
        f"{config.pocket.folder}; that judge knows the words of the embedded pair alone, so its "
        "scores of other models measure no trait: set judge.kind to openai or local"
    )


def judge_weights(config: Config) -> int:
    """Bytes of the weights of a judge beside the steered model; 0 for one that lies elsewhere.

    Raises:
        TraitsteerError: it cannot be read.
    """
    models, judge = config.models, config.judge
    if judge.kind != "local":
        return 0
    place = usable_device(local_device(config), section_of_device(config))
    spread = SPREAD if place.type == "cuda" else ()
    if models.device not in spread and place != usable_device(models.device):
        return 0
    skeleton = model_files.skeleton(
        judge_name(config), judge.revision, models.trust_remote_code, models.dtype
    )
    return memory.sizes_of(skeleton, judge.quantisation).weights


def refuse_other_shape(config: Config, arm: str) -> None:
    """Raise TraitsteerError when vectors of the arm's source model do not fit the steered one."""
    models, source = config.models, config.source(arm)
    read, steered = (
        shape_of(which.name, which.revision, models.trust_remote_code)
        for which in (source, models.instruct)
    )
    if (read.layers, read.width) != (steered.layers, steered.width):
        raise TraitsteerError(
            f"The arm {arm!r} fits vectors on {source.name} with {read.layers} blocks of width "
            f"{read.width}, which do not fit {models.instruct.name} with {steered.layers} of "
            f"{steered.width}; name a base and an instruct model of one shape."
        )


def tell_apart(config: Config) -> str | None:
    """One sentence where vectors of the base model are added to a model that shares its shape and,
    as it seems, not its origin; None where nothing speaks against it.

    Raises:
        TraitsteerError: a model cannot be read.
    """
    base, instruct = config.models.base, config.models.instruct
    if all(config.source(arm) == instruct for arm in config.study.arms):
        return None
    kinds = [
        shape_of(which.name, which.revision, config.models.trust_remote_code).kind
        for which in (base, instruct)
    ]
    differing, whole = differing_tokens(config, base, instruct)
    if kinds[0] != kinds[1]:
        found = f"{base.name} is of type {kinds[0]} and {instruct.name} of type {kinds[1]}"
    elif differing:
        found = (
            f"the vocabulary of {instruct.name} lacks or renumbers {differing} of the {whole} "
            f"tokens of {base.name}"
        )
    else:
        return None
    return (
        f"{found}; their shape is the same, but a vector of one means something in the other only "
        "if one was trained from the other: make sure that it was"
    )


def unpinned(model: ModelConfig) -> str | None:
    """The commit that a hub model is at now; None if its revision says so, and for a folder.

    Raises:
        TraitsteerError: there is no such model, or it may not be read.
    """
    commit = model_names.pinned(model.name, model.revision)
    return None if commit == model.revision else commit


def prompts_of_model(
    config: Config, model: ModelConfig, elicited_as: Mapping[str, list[Counted]]
) -> list[Counted]:
    """The prompts of all texts that this model writes, or reads where it is the source of an arm
    that reads the text of another.
    """
    texts = {config.text(arm) for arm in config.study.arms if config.source(arm) == model}
    texts |= {text for text in config.study.texts if config.source(text) == model}
    return [prompt for text in sorted(texts) for prompt in elicited_as[text]]
