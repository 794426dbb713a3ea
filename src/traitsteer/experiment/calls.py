"""How many calls of the judge a study makes and about how many tokens they come to, beforehand.

Upper bounds from the parameters: a search may end early, what is in `.cache/` is not asked again,
and a reply whose digits are asked for one by one takes a call more for each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from traitsteer.words.config import Config
from traitsteer.words.records import Answer, Trait
from traitsteer.words.scoring_config import SearchConfig
from traitsteer.world.judges import prompts_of
from traitsteer.world.model_judge import questions_about, tokens_of
from traitsteer.world.progress import say
from traitsteer.world.trait_folder import read_trait


@dataclass(frozen=True)
class Calls:
    """Prompts put to a judge model, and their tokens, in and out."""

    calls: int = 0
    tokens: int = 0

    def __add__(self, other: "Calls") -> "Calls":
        return Calls(self.calls + other.calls, self.tokens + other.tokens)

    def __str__(self) -> str:
        return f"{self.calls:,} calls and about {self.tokens:,} tokens"


def calls_for(config: Config, trait: Trait, answers: int, longest: int) -> Calls:
    """What it takes to score so many answers of at most `longest` tokens."""
    question = max(trait.report, key=len, default="")
    empty = questions_about(prompts_of(config), trait.definition, Answer(question, ""))
    each = sum(tokens_of(one.prompt) + longest for one in empty)
    return Calls(len(empty) * answers, answers * each)


def most_answers(sizes: SearchConfig, questions: int) -> int:
    """Answers of one search if nothing is given up and one recount suffices."""
    recounted = (1 + sizes.confirm) * sizes.confirm_samples
    return questions * ((1 + sizes.trials) * sizes.samples + recounted)


def elicited(config: Config, trait: Trait, arm: str) -> int:
    """Responses of one arm."""
    pairs = len(trait.system_prompts) * len(trait.extraction)
    if config.arm(arm).elicitation == "natural":
        pairs = len(trait.scenarios)
    return 2 * pairs * config.elicit.samples


def evaluated(config: Config, trait: Trait) -> int:
    """Answers to the report questions for one vector.

    Baseline, steered and negated vector, the nulls, the frontier, and the positive system prompts,
    over which the samples are spread evenly, at least one for each.
    """
    sizes = config.evaluate
    nulls = 1 + sizes.nulls.random + sizes.nulls.shuffled + sizes.nulls.orthogonal
    prompts = max(1, len(trait.system_prompts))
    prompted = prompts * ceil(sizes.samples / prompts)
    in_full = (2 + len(sizes.ladder)) * sizes.samples
    return (in_full + prompted + nulls * sizes.nulls.samples) * len(trait.report)


def crossed(config: Config, trait: Trait) -> int:
    """Answers to one trait's report questions under the vectors of all traits, at their own
    settings and, those of other traits, at this one's.
    """
    traits, arms = len(config.study.traits), len(config.study.arms)
    settings = 1 + traits * arms + (traits - 1) * arms
    return settings * len(trait.report) * config.evaluate.samples


def voiced(config: Config, trait: Trait) -> int:
    """Answers to one trait's report questions whose voices are compared, once corrected.

    The prompts about naturalness and preference are counted in answers, of three prompts each.
    """
    settings, questions, sizes = 3, len(trait.report), config.voice
    heard = questions * (settings * sizes.samples + 2 * sizes.pairs)
    return 2 * settings * questions * sizes.samples + -(-heard // 3)


def of_study(config: Config) -> dict[str, Calls]:
    """What each stage of the whole study takes at most."""
    longest = config.answers.max_new_tokens
    methods = sum(len(config.arm(arm).methods) for arm in config.study.arms)

    def answered(trait: Trait, answers: int) -> Calls:
        return calls_for(config, trait, answers, longest)

    stages: dict[str, Callable[[Trait], Calls]] = {
        "vet": lambda trait: calls_for(
            config,
            trait,
            sum(elicited(config, trait, arm) for arm in config.study.texts),
            config.elicit.max_new_tokens,
        ),
        "search": lambda trait: answered(
            trait, methods * most_answers(config.search, len(trait.selection))
        ),
        "evaluate": lambda trait: answered(trait, methods * evaluated(config, trait)),
        "cross": lambda trait: answered(trait, crossed(config, trait)),
        "voice": lambda trait: answered(trait, voiced(config, trait)),
    }
    traits = [read_trait(Path(config.study.trait_folder) / name) for name in config.study.traits]
    return {name: sum(map(of, traits), Calls()) for name, of in stages.items()}


def announce(config: Config, trait: str, title: str, answers: int, longest: int) -> None:
    """Say what a stage will ask of a judge that is a model."""
    if config.judge.kind != "pocket":
        found = calls_for(
            config, read_trait(Path(config.study.trait_folder) / trait), answers, longest
        )
        say(f"{title}: {answers:,} answers to judge at most, {found}")


def announce_study(config: Config) -> None:
    """Say what the whole study will ask of a judge that is a model, stage by stage."""
    if config.judge.kind != "pocket":
        found = of_study(config)
        for name, calls in found.items():
            say(f"check: {name} takes at most {calls}")
        say(f"check: the whole study takes at most {sum(found.values(), Calls())}")
