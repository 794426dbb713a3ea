"""What the stages left behind for one trait and arm, gathered from their files."""

from dataclasses import dataclass
from typing import Any

from traitsteer.experiment.results import read_result
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.records import Trait
from traitsteer.words.voice_findings import at_equal_score
from traitsteer.world.files import read_json, read_jsonl
from traitsteer.world.trait_folder import trait_of


@dataclass(frozen=True)
class FinishedMethod:
    """What the stages left behind for one method of an arm."""

    name: str
    fitted: dict[str, Any]
    search: dict[str, Any]
    evaluation: dict[str, Any]
    scores: list[dict[str, Any]]
    answers: list[dict[str, Any]]


@dataclass(frozen=True)
class FinishedArm:
    """What the stages left behind for one trait and arm."""

    trait: Trait
    name: str
    methods: tuple[FinishedMethod, ...]
    responses: dict[str, int]
    """How many responses of its text there are, and were kept, by polarity."""
    natural_percent: float | None
    """Of the instruction arm's delta; None for other arms and where it is not told."""
    perplexity_ratio: float | None
    """Perplexity of neutral text under the best vector over that without; None without one."""
    software: dict[str, str]
    """Package and version of what computed it."""
    naturalness: float | None
    """At equal trait score; None where voices were not compared, or that was not reached."""
    equality: str | None
    """What is known of the arms' trait scores where voices were compared: the verdict."""


def read_arm(config: Config, trait: str, arm: str) -> FinishedArm:
    """Read all that was found for a trait and arm.

    Raises:
        TraitsteerError: a file of an earlier stage is missing.
    """
    comparison = read_json(layout.COMPARISON)
    percents = {row["trait"]: row["natural_percent"] for row in comparison["comparisons"]}
    percent = percents.get(trait) if arm == "natural" else None
    ratios = {(r["vector"], r["arm"]): r["ratio"]["value"] for r in read_json(layout.PERPLEXITY)}
    voice = {row["trait"]: row for row in read_json(layout.VOICE)}.get(trait)
    heard = voice["measures"]["naturalness"] if voice and at_equal_score(voice) else None
    return FinishedArm(
        trait=trait_of(config, trait),
        name=arm,
        methods=tuple(
            FinishedMethod(
                name=method,
                fitted=read_json(layout.fit_measures(trait, arm, method)),
                search=read_json(layout.search_record(trait, arm, method)),
                evaluation=read_result(trait, arm, method),
                scores=read_jsonl(layout.search_scores(trait, arm, method)),
                answers=read_jsonl(layout.evaluation_answers(trait, arm, method)),
            )
            for method in config.arm(arm).methods
        ),
        responses=read_json(layout.vet_counts(trait, config.text(arm))),
        natural_percent=None if percent is None else percent["value"],
        perplexity_ratio=ratios.get((trait, arm)),
        software=comparison["software"],
        naturalness=heard[arm]["value"] if heard and arm in heard else None,
        equality=voice["equality"]["verdict"] if voice and voice["equality"] else None,
    )
