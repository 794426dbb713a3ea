"""How many calls of the judge a study makes and about how many tokens they come to, beforehand.

Estimates from the parameters, with prompts and answers as long as they can be: a search may end
early, or recount more than once where nothing stands; what is in `.cache/` is not asked again; a
reply whose digits are asked for one by one takes a call more for each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from traitsteer.experiment.elicitation import planned
from traitsteer.words.config import Config
from traitsteer.words.records import Answer, Trait
from traitsteer.words.scoring_config import SearchConfig
from traitsteer.world.judge.identity import prompts_of
from traitsteer.world.judge.model_judge import questions_about, tokens_of
from traitsteer.world.progress import say
from traitsteer.world.trait_folder import trait_of


@dataclass(frozen=True)
class Calls:
    """Prompts put to a judge model, and their tokens, in and out."""

    calls: int = 0
    tokens: int = 0

    def __add__(self, other: "Calls") -> "Calls":
        return Calls(self.calls + other.calls, self.tokens + other.tokens)

    def __str__(self) -> str:
        return f"{self.calls:,} calls and {self.tokens:,} tokens"


def calls_for(
    config: Config, trait: Trait, questions: Sequence[str], answers: int, longest: int
) -> Calls:
    """What it takes to score so many answers of at most `longest` tokens to these questions."""
    question = max(questions, key=lambda text: len(text.encode()), default="")
    empty = questions_about(prompts_of(config), trait.definition, Answer(question, ""))
    each = sum(tokens_of(one.prompt) + longest for one in empty)
    return Calls(len(empty) * answers, answers * each)


def most_answers(sizes: SearchConfig, questions: int) -> int:
    """Answers of one search if nothing is given up and one recount suffices."""
    recounted = (1 + sizes.recount) * sizes.recount_samples
    return questions * ((1 + sizes.trials) * sizes.samples + recounted)


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
    """What each stage of the whole study takes."""
    longest = config.answers.max_new_tokens
    methods = sum(len(config.arm(arm).methods) for arm in config.study.arms)

    def vetted(trait: Trait, text: str) -> Calls:
        prompts = [each.side.prompt for each in planned(config, trait, text)]
        return calls_for(config, trait, prompts, len(prompts), config.elicit.max_new_tokens)

    def reported(trait: Trait, answers: int) -> Calls:
        return calls_for(config, trait, trait.report, answers, longest)

    stages: dict[str, Callable[[Trait], Calls]] = {
        "vet": lambda trait: sum((vetted(trait, text) for text in config.study.texts), Calls()),
        "search": lambda trait: calls_for(
            config,
            trait,
            trait.selection,
            methods * most_answers(config.search, len(trait.selection)),
            longest,
        ),
        "evaluate": lambda trait: reported(trait, methods * evaluated(config, trait)),
        "cross": lambda trait: reported(trait, crossed(config, trait)),
        "voice": lambda trait: reported(trait, voiced(config, trait)),
    }
    traits = [trait_of(config, name) for name in config.study.traits]
    return {name: sum(map(of, traits), Calls()) for name, of in stages.items()}


def announce(
    config: Config, trait: str, title: str, questions: Sequence[str], answers: int, longest: int
) -> None:
    """Say what a stage will ask of a judge that is a model, about answers to these questions."""
    if config.judge.kind != "pocket":
        whole = trait_of(config, trait)
        found = calls_for(config, whole, questions, answers, longest)
        say(f"{title}: about {answers:,} answers to judge, {found}")


def announce_study(config: Config) -> None:
    """Say what the whole study will ask of a judge that is a model, stage by stage."""
    if config.judge.kind != "pocket":
        found = of_study(config)
        for name, calls in found.items():
            say(f"check: {name} takes about {calls}")
        say(f"check: the whole study takes about {sum(found.values(), Calls())}")
