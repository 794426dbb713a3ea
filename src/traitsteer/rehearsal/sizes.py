"""Small sizes for params.yaml and short trait folders, so that a study takes minutes."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from traitsteer.maths.positions import Position
from traitsteer.words.records import Trait


@dataclass(frozen=True)
class RehearsalSizes:
    """How much of everything is rehearsed."""

    pairs: int
    """Contrast pairs of natural elicitation; instruction elicitation has a fifth as many."""
    questions: int
    """Questions of each set."""
    tokens: int
    """New tokens of every response."""
    trials: int


USUAL = RehearsalSizes(pairs=30, questions=6, tokens=16, trials=10)
SMALLEST = RehearsalSizes(pairs=15, questions=5, tokens=10, trials=6)


def shortened(trait: Trait, sizes: RehearsalSizes) -> Trait:
    """The beginning of a trait: the same format, fewer pairs and questions."""
    return replace(
        trait,
        scenarios=trait.scenarios[: sizes.pairs],
        system_prompts=trait.system_prompts[: sizes.pairs // 5],
        extraction=trait.extraction[: sizes.questions],
        selection=trait.selection[: sizes.questions],
        report=trait.report[: sizes.questions],
    )


def shrunk(profile: Mapping[str, Any], sizes: RehearsalSizes) -> dict[str, Any]:
    """The profile's parameters with small sizes; what is compared and how stays as it is."""
    values: dict[str, Any] = deepcopy(dict(profile))
    for section, changes in _changes(sizes, _tokens(profile, sizes)).items():
        values[section] |= changes
    if values["elicit"]["temperature"] == 0:
        values["elicit"]["samples"] = 1
    return values


def _tokens(profile: Mapping[str, Any], sizes: RehearsalSizes) -> int:
    """Tokens of a response: those of the sizes, or so many more as every arm's position needs."""
    most = profile["elicit"]["max_new_tokens"]
    positions = [Position.parse(arm["position"]) for arm in profile["arms"].values()]
    needed = [
        next((n for n in range(1, most + 1) if position.tokens(1, n)), 1)
        for position in positions
        if position.part != "prompt"
    ]
    return max([sizes.tokens, *needed])


def _changes(sizes: RehearsalSizes, tokens: int) -> dict[str, dict[str, Any]]:
    return {
        "models": {"rows": 64, "tokens": 2048},
        "judge": {
            "requests_at_once": 8,
            "requests_per_minute": None,
            "budget": {"calls": None, "tokens": None},
        },
        "elicit": {"samples": 3, "max_new_tokens": tokens},
        "vet": {"minimum": 2},
        "fit": {"penalties": [0.1, 10.0], "folds": 3, "halves": 2},
        "answers": {"max_new_tokens": sizes.tokens},
        "search": {
            "coarse_layers": 2,
            "coarse_strengths": 2,
            "sampler_trials": 1,
            "batch": 2,
            "trials": sizes.trials,
            "samples": 1,
            "rungs": [2],
            "recount": 2,
            "recount_samples": 1,
        },
        "evaluate": {
            "samples": 1,
            "nulls": {"random": 5, "shuffled": 1, "orthogonal": 1, "samples": 1},
            "ladder": [0.5, 1.25],
        },
        "voice": {"samples": 1, "pairs": 1},
        "audit": {"repeats": 1},
    }
