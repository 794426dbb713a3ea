"""What choosing does to a delta: the study's own search, recount and choice on planted answers."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from traitsteer.experiment.answering import Questions, Setting
from traitsteer.experiment.planted import PlantedBench, cliff_surface
from traitsteer.experiment.searching import Search
from traitsteer.experiment.simulation import CONFIDENCE, SAMPLES
from traitsteer.maths.statistics import paired_difference_interval
from traitsteer.words import scores
from traitsteer.words.config import Config
from traitsteer.words.seeds import small_seed_for
from traitsteer.world.studies import LayerStrengthStudy


@dataclass(frozen=True)
class Chosen:
    """What one search chose, and how far its scores lie from the truth."""

    truth: float
    """The choice's true delta."""
    first: float
    """The largest delta of a feasible trial, minus the true delta of its setting; NaN where none
    was feasible and the recount alone found the choice."""
    recount: float
    """The choice's delta in the recount that it rests on, minus its true delta."""
    report: float
    """The choice's delta on the report questions, minus its true delta."""
    covered: bool
    """Whether the report interval holds the true delta."""


def searches(config: Config, questions: int, runs: int) -> Iterator[Chosen]:
    """The study's own search, recount and choice on planted answers; then the report questions."""
    layers = 11
    for run in range(runs):
        seed = small_seed_for("search", questions, run)
        bench = PlantedBench(cliff_surface, seed)
        asked = {
            purpose: Questions("planted", purpose, tuple(f"{purpose} {n}" for n in range(count)))
            for purpose, count in (("selection", 20), ("report", questions))
        }
        sizes, floor = config.search, config.study.coherence_floor
        study = LayerStrengthStudy("s", layers, sizes.strength, sizes.step, floor, seed)
        search = Search(
            config.model_copy(update={"seed": seed}),
            bench,
            asked["selection"],
            torch.eye(layers, 16),
            torch.ones(layers),
            study,
        )
        for _ in search.batches(lambda done: None):
            pass
        _, best = search.recount(lambda done: None)
        if best is None:
            continue
        layer, strength = best["layer"], best["strength"]
        settings = [Setting(0, search.vectors[0], 0.0)]
        settings.append(Setting(layer, search.vectors[layer], best["coefficient"]))
        answers = bench.answers(asked["report"], settings, SAMPLES, lambda done: None)
        unsteered, steered = (scores.by_question(rows, "trait_score") for rows in answers)
        report = paired_difference_interval(steered, unsteered, CONFIDENCE)
        truth = bench.delta(layer, strength)
        feasible = [t for t in search.trials if t["feasible"]]
        winner = max(feasible, key=lambda t: t["delta"], default=None)
        assert report.lower is not None and report.upper is not None
        yield Chosen(
            truth,
            winner["delta"] - bench.delta(winner["layer"], winner["strength"])
            if winner
            else math.nan,
            best["delta"] - truth,
            report.value - truth,
            report.lower <= truth <= report.upper,
        )
