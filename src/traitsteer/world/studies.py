"""The home of Optuna: a study over layer and strength, and the journal that people browse.

The study that decides lives in memory and is a function of its seed and of what it was told, so
that an interrupted search, replayed over the answers on disk, asks for the same settings again.
The journal is a view of it for optuna-dashboard, which is compared with and never learned from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from traitsteer.maths.cliffs import Point
from traitsteer.world.progress import say

CONSTRAINT = "coherence_below_floor"


@dataclass(frozen=True)
class Outcome:
    """What a setting scored; None when too many of its scores are missing."""

    delta: float | None
    coherence: float | None
    trait_score: float | None
    coefficient: float
    pruned: bool = False
    """Given up below the floor: the scores are those of the questions answered until then."""
    rungs: Mapping[int, float] = field(default_factory=dict)
    """Delta after so many questions, at each rung that the setting came to."""


class LayerStrengthStudy:
    """Asks for settings in batches and is told their outcomes; larger delta is better.

    A setting is feasible when its coherence is at least the floor.
    """

    def __init__(
        self,
        name: str,
        layers: int,
        strength: tuple[float, float],
        step: float,
        floor: float,
        seed: int,
        sampler: BaseSampler | None = None,
        protocol: str = "",
    ) -> None:
        """Without a sampler, Optuna's TPE of this seed proposes what is not asked for by name.

        `protocol` is the SHA-256 of the terms that outcomes are scored under; the journal shows it.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.name = name
        self._floor = floor
        self._protocol = protocol
        self._space = {
            "layer": IntDistribution(0, layers - 1),
            "strength": FloatDistribution(*strength, step=step),
        }
        self._study = optuna.create_study(
            direction="maximize", sampler=sampler or TPESampler(seed=seed, n_startup_trials=1)
        )
        self._asked: list[Trial] = []

    def ask(self, wanted: int | Sequence[Point]) -> list[Point]:
        """Return settings to try: those wanted, or as many as wanted that the sampler proposes."""
        named = [] if isinstance(wanted, int) else wanted
        for point in named:
            self._study.enqueue_trial({"layer": point.layer, "strength": point.strength})
        count = wanted if isinstance(wanted, int) else len(wanted)
        self._asked = [self._study.ask(self._space) for _ in range(count)]
        return [Point(t.params["layer"], round(t.params["strength"], 6)) for t in self._asked]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Report the outcomes of the settings last asked for, in order."""
        for trial, outcome in zip(self._asked, outcomes, strict=True):
            trial.set_user_attr("coefficient", outcome.coefficient)
            for questions, delta in outcome.rungs.items():
                trial.report(delta, questions)
            if outcome.coherence is None or (outcome.delta is None and not outcome.pruned):
                self._study.tell(trial, state=TrialState.FAIL)
                continue
            trial.set_user_attr("coherence", outcome.coherence)
            trial.set_user_attr("trait_score", outcome.trait_score)
            trial.set_constraint(CONSTRAINT, self._floor - outcome.coherence)
            if outcome.pruned:
                self._study.tell(trial, state=TrialState.PRUNED)
            else:
                self._study.tell(trial, outcome.delta)
        self._asked = []

    def publish(self, journal: Path, ended: bool = False) -> None:
        """Add to the journal the finished trials that it does not hold yet.

        The journal is a view: one that a killed writer left broken is set aside under a name that
        is free, which is said, and begun anew, and a study of this name whose trials were others
        (of older code, or of another judge's scores) is replaced. One that is ahead is left as it
        is, since this search may be a replay that comes to those trials, unless it has `ended`:
        then they are others too. One that is deleted meanwhile is begun again, or said not to be
        whole.
        """
        journal.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(TRIES):
            try:
                # Optuna locks each line; two searches that read and then add would add twice.
                with FileLock(f"{journal}.publishing"):
                    self._add_to(journal, ended)
            except KeyError:
                continue
            return
        say(
            f"{journal} does not hold all trials of the study {self.name}, which was deleted while "
            "they were added; the next batch adds them, or `dvc repro -f -s search`"
        )

    def _add_to(self, journal: Path, ended: bool) -> None:
        """Raises KeyError where another process, or a person, deletes the study meanwhile."""
        try:
            storage, shown = self._opened(journal)
        except ValueError:
            aside = _free(journal)
            journal.rename(aside)
            say(f"{journal} cannot be read; it is kept as {aside}, and a new journal is begun")
            storage, shown = self._opened(journal)
        finished = self._study.get_trials(deepcopy=False, states=_FINISHED)
        known = shown.get_trials(deepcopy=False)
        others = any(_told(a) != _told(b) for a, b in zip(known, finished, strict=False))
        if others or (ended and len(known) > len(finished)):
            optuna.delete_study(study_name=self.name, storage=storage)
            shown, known = self._shown(storage), []
        shown.add_trials([self._for_dashboard(trial) for trial in finished[len(known) :]])

    def _opened(self, journal: Path) -> tuple[JournalStorage, optuna.Study]:
        """The journal and this study in it; raises ValueError where a line cannot be read.

        A last line that breaks off is found only once another stands behind it.
        """
        storage = JournalStorage(JournalFileBackend(str(journal.resolve())))
        return storage, self._shown(storage)

    def _shown(self, storage: JournalStorage) -> optuna.Study:
        study = optuna.create_study(
            study_name=self.name, storage=storage, direction="maximize", load_if_exists=True
        )
        study.set_user_attr("protocol", self._protocol)
        return study

    def _for_dashboard(self, trial: FrozenTrial) -> FrozenTrial:
        """The trial with its constraint also in the list that optuna-dashboard 0.21 reads."""
        coherence = trial.user_attrs.get("coherence")
        violated = {} if coherence is None else {"constraints": [self._floor - coherence]}
        return create_trial(
            state=trial.state,
            value=trial.value,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=trial.user_attrs,
            intermediate_values=trial.intermediate_values,
            system_attrs={**trial.system_attrs, **violated},
        )


def _free(journal: Path) -> Path:
    """A name for a broken journal that no other has."""
    names = (journal.with_suffix(f".broken{number or ''}") for number in count())
    return next(name for name in names if not name.exists())


def _told(trial: FrozenTrial) -> tuple[object, ...]:
    """What a trial was told, by which two are the same."""
    return trial.state, trial.value, trial.params, trial.user_attrs


TRIES = 3
"""How often a study that vanishes while trials are added is opened again."""
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
