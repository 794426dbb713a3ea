"""Refuses a judge that cannot work, before it is needed; a local model is not loaded for it."""

from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer, Trait
from traitsteer.world.judge.identity import judge_name, judge_terms, prompts_of
from traitsteer.world.judge.judges import local_device, open_judge, section_of_device
from traitsteer.world.judge.model_judge import questions_about
from traitsteer.world.trait_folder import trait_of


def find_judge(config: Config, trait: str) -> None:
    """Refuse a judge that cannot work, at little cost.

    Raises:
        TraitsteerError: it cannot be reached or read, does not know the trait or has no chat
            template, or a local one has no weights as safetensors or too short a context.
    """
    if config.judge.kind == "local":
        judge_terms(config, trait)
        _find_model(config)
        _require_context(config, trait)
    else:
        open_judge(config, trait, anew=True).score(trait, [])


def _find_model(config: Config) -> None:
    """Refuse a local judge whose weights or device are not there."""
    from traitsteer.world.model import devices, weight_files

    judge = config.judge
    place = devices.usable_device(local_device(config), section_of_device(config))
    devices.check_quantisation(judge.quantisation, place, "judge")
    weight_files.find_weights(judge_name(config), judge.revision, config.models.trust_remote_code)


def _require_context(config: Config, trait: str) -> None:
    """Refuse a local judge whose context does not take what it is asked about a trait."""
    from traitsteer.world.judge import number_reader
    from traitsteer.world.model import model_files, model_shape

    judge = config.judge
    trust, name = config.models.trust_remote_code, judge_name(config)
    asked = model_files.open_prompts(name, judge.revision, trust, True, judge.template)
    context = model_shape.shape_of(name, judge.revision, trust).context
    prompts, whole = prompts_of(config), trait_of(config, trait)
    about = [
        each
        for question in _judged_beside(config, whole)
        for each in questions_about(prompts, whole.definition, Answer(question, ""))
    ]
    longest = max(len(asked.encode(each.prompt)) for each in about)
    if context is not None and longest + number_reader.LONGEST > context:
        raise TraitsteerError(
            f"The judge {name} takes {context} tokens, and what it is asked about {trait} has "
            f"{longest} before any answer; choose a judge with a longer context."
        )


def _judged_beside(config: Config, trait: Trait) -> set[str]:
    """The questions and scenarios of a trait that a judge reads with what follows them."""
    found = {*trait.selection, *trait.report}
    for elicitation in {config.arm(text).elicitation for text in config.study.texts}:
        if elicitation == "natural":
            found |= {side for pair in trait.scenarios for side in (pair.positive, pair.negative)}
        else:
            found |= set(trait.extraction)
    return found
