"""What a text must hold at least: refused where it is planned, before anything is generated."""

from traitsteer.experiment.elicitation import planned
from traitsteer.maths.folds import groups_of
from traitsteer.maths.methods import LEAST_GROUPS
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import POLARITIES, Trait

_REMEDIES = {
    "natural": "give pairs in scenarios.txt whose sides stand in no other pair",
    "instruction": "give more questions in extraction.txt",
}
"""How a text comes to more groups, by its elicitation."""


def refuse_small_text(config: Config, trait: Trait, text: str) -> None:
    """Refuse a text that vetting or fitting would stop at, even if every response were kept.

    Raises:
        TraitsteerError: it has fewer responses than vetting must keep, or its pairs fall into fewer
            groups than a method of an arm that reads it takes; or as `planned` does.
    """
    responses = planned(config, trait, text)
    each = len(responses) // len(POLARITIES)
    if each < config.vet.minimum:
        raise TraitsteerError(
            f"{trait.name}: the text {text!r} has {each} responses of each polarity, fewer than "
            f"vet.minimum = {config.vet.minimum}; raise elicit.samples, add prompts or lower it."
        )
    groups = groups_of((response.side.pair, response.side.prompt) for response in responses)
    found = len(set(groups.values()))
    for arm in config.study.arms:
        for method in config.arm(arm).methods if config.text(arm) == text else ():
            if found < (least := LEAST_GROUPS[method]):
                raise TraitsteerError(
                    f"{trait.name}: the {len(groups)} contrast pairs of the text {text!r} count as "
                    f"{found}, since pairs that share a prompt, directly or through others, are "
                    f"held out together, and the {method.replace('_', ' ')} of the arm {arm!r} "
                    f"takes {least} or more; "
                    f"{_REMEDIES[config.arm(text).elicitation]}."
                )
