"""What the stages left behind for one trait and arm, gathered from their files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.records import Trait
from traitsteer.world.files import read_json, read_jsonl
from traitsteer.world.trait_folder import read_trait


@dataclass(frozen=True)
class Method:
    """What the stages left behind for one method of an arm."""

    name: str
    fitted: dict[str, Any]
    search: dict[str, Any]
    evaluation: dict[str, Any]
    scores: list[dict[str, Any]]
    answers: list[dict[str, Any]]


@dataclass(frozen=True)
class Arm:
    """What the stages left behind for one trait and arm."""

    trait: Trait
    name: str
    methods: tuple[Method, ...]
    natural_percent: float | None
    """Of the instruction arm's delta; None for other arms and where it could not be computed."""


def read_arm(config: Config, trait: str, arm: str) -> Arm:
    """Read all that was found for a trait and arm.

    Raises:
        TraitsteerError: a file of an earlier stage is missing.
    """
    comparison = read_json(layout.COMPARISON)
    ratios = {row["trait"]: row["natural_percent"] for row in comparison["comparisons"]}
    ratio = ratios.get(trait) if arm == "natural" else None
    search, evaluation = layout.search(trait, arm), layout.evaluation(trait, arm)
    return Arm(
        trait=read_trait(Path(config.study.trait_folder) / trait),
        name=arm,
        methods=tuple(
            Method(
                name=method,
                fitted=read_json(layout.vectors(trait, arm) / f"{method}.json"),
                search=read_json(search / f"{method}.json"),
                evaluation=read_json(evaluation / f"{method}.json"),
                scores=read_jsonl(search / f"{method}.scores.jsonl"),
                answers=read_jsonl(evaluation / f"{method}.answers.jsonl"),
            )
            for method in config.arm(arm).methods
        ),
        natural_percent=None if ratio is None else ratio["value"],
    )
