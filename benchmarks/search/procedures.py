"""The procedures that are compared: the study's own search, and Optuna's samplers in its place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import optuna
import torch
from optuna.samplers import BaseSampler

from benchmarks.search.grid import Surface
from benchmarks.search.replay import Replay
from traitsteer.experiment.answering import Questions
from traitsteer.experiment.searching import Search
from traitsteer.maths.cliffs import Point
from traitsteer.words.config import Config
from traitsteer.world.studies import LayerStrengthStudy

MOST_TRIALS = 96


class WithoutCliffs(Search):
    """Leaves everything after the coarse design to the sampler."""

    coarse = True

    def planned(self) -> tuple[str, list[Point]]:
        """The coarse design first, if there is one."""
        return super().planned() if self.coarse and not self.trials else ("sampler", [])


class SamplerAlone(WithoutCliffs):
    """Leaves everything to the sampler."""

    coarse = False


@dataclass(frozen=True)
class Procedure:
    """One way to search: the class of the search, its sampler, and parameters that differ."""

    name: str
    search: type[Search] = SamplerAlone
    sampler: Callable[[int], BaseSampler] | None = None
    changes: Mapping[str, object] = field(default_factory=dict)

    def begin(self, config: Config, surface: Surface, seed: int) -> tuple[Search, Replay]:
        """A search of this kind over a stored surface, and the replay that counts its answers."""
        sizes = config.search.model_copy(update=dict(self.changes))
        changed = config.model_copy(update={"seed": seed, "search": sizes})
        bench = Replay(surface, seed)
        layers = len(surface.trait)
        floor, sampler = config.study.coherence_floor, self.sampler and self.sampler(seed)
        study = LayerStrengthStudy(
            surface.name, layers, sizes.strength, sizes.step, floor, seed, sampler
        )
        questions = Questions(surface.name, "selection", bench.texts())
        norms = torch.ones(layers)
        return self.search(changed, bench, questions, torch.zeros(layers, 1), norms, study), bench


def procedures() -> list[Procedure]:
    """The default first. Samplers propose eight at a time; the batch of 16 was the study's own."""
    samplers = optuna.samplers
    many = {"trials": MOST_TRIALS, "sampler_trials": MOST_TRIALS, "batch": 8}
    before = {"coarse_layers": 6, "coarse_strengths": 5, "batch": 16, "rungs": (), "recount": 8}
    return [
        Procedure("cliffs (the default)", Search),
        Procedure("cliffs, nothing given up", Search, changes={"rungs": ()}),
        Procedure("cliffs, then TPE", Search, changes=many),
        Procedure("coarse 6 x 5 + TPE, as before", WithoutCliffs, None, many | before),
        Procedure("coarse 6 x 3 + TPE", WithoutCliffs, None, many | {"coarse_strengths": 3}),
        Procedure("TPE", sampler=lambda seed: samplers.TPESampler(seed=seed), changes=many),
        Procedure(
            "GP",
            sampler=lambda seed: samplers.GPSampler(seed=seed),
            # It learns nothing from pruned trials, and a proposal takes it longest.
            changes=many | {"trials": 32, "sampler_trials": 32, "rungs": ()},
        ),
        Procedure("QMC", sampler=lambda seed: _qmc(seed), changes=many),
        Procedure("random", sampler=lambda seed: samplers.RandomSampler(seed=seed), changes=many),
        Procedure("CMA-ES", sampler=lambda seed: samplers.CmaEsSampler(seed=seed), changes=many),
        Procedure("NSGA-II", sampler=lambda seed: _nsga2(seed), changes=many),
    ]


def _qmc(seed: int) -> BaseSampler:
    return optuna.samplers.QMCSampler(seed=seed, scramble=True)


def _nsga2(seed: int) -> BaseSampler:
    # Of its default of 50 a generation it would see two.
    return optuna.samplers.NSGAIISampler(population_size=16, seed=seed)
