"""Who takes part: the environment each one needs, and what it may choose."""

from dataclasses import dataclass, replace

from benchmarks.tasks import Forwarding, Probing, Reading, Steering, Task, kind

OWN = "own"
"""The environment that the command itself runs in."""

_MANY_READ = (8, 16, 32, 64)
_MANY_STEERED = (128, 256, 512)
_SOLVERS = ("newton-cg", "lbfgs")
_MOST_NUMBERS = 10_000_000
"""Activations beyond which a loop over all fits takes an hour, so that a part of them is timed."""


@dataclass(frozen=True)
class Entrant:
    """One contender and what is known of it before it starts."""

    name: str
    """Its file in `contenders/`."""
    title: str
    package: str
    """Whose version stands in the table."""
    environment: str = OWN
    works: tuple[str, ...] = ("read", "steer")
    """Kinds of work that it offers."""
    many_settings: bool = False
    """Whether one forward pass may hold rows of several settings."""

    def choices(self, task: Task) -> list[Task]:
        """The task at each batch size or with each solver that the contender may choose from."""
        if isinstance(task, Reading):
            return [replace(task, rows=rows) for rows in _MANY_READ]
        if isinstance(task, Forwarding):
            return [replace(task, rows=rows) for rows in _MANY_READ]
        if isinstance(task, Probing) and self.name == "scikit_learn":
            if task.n * task.layers * task.width > _MOST_NUMBERS:
                ends = [0, len(task.penalties) // 2, len(task.penalties) - 1]
                task = replace(task, fitted_layers=[0], fitted_penalties=ends)
            return [replace(task, solver=solver) for solver in _SOLVERS]
        if isinstance(task, Steering) and self.many_settings:
            return [replace(task, rows=rows) for rows in _MANY_STEERED]
        return [task]

    def warm_up(self, task: Task) -> Task:
        """A part of a task that takes long enough to warm up on and to choose by."""
        if isinstance(task, Reading):
            return replace(task, ids=task.ids[: max(64, len(task.ids) // 4)])
        if isinstance(task, Forwarding):
            return replace(task, sequences=max(64, task.sequences // 4))
        if isinstance(task, Probing):
            return replace(task, fitted_layers=task.fitted_layers[:1])
        if isinstance(task, Steering) and not self.many_settings:
            return replace(task, settings=task.settings[::4])
        return task


ENTRANTS = (
    Entrant(
        "ours", "traitsteer", "traitsteer", works=("read", "steer", "probe"), many_settings=True
    ),
    Entrant("plain", "plain transformers", "transformers"),
    Entrant("hand_written", "hand-written", "transformers", many_settings=True),
    Entrant("nnsight", "nnsight", "nnsight", "transformers5", many_settings=True),
    Entrant("transformer_lens", "transformer-lens", "transformer-lens", "transformers5"),
    Entrant("repeng", "repeng", "repeng", "transformers4"),
    Entrant("steering_vectors", "steering-vectors", "steering-vectors", "transformers4"),
    Entrant("pyvene", "pyvene", "pyvene", "transformers4"),
    Entrant("nnterp", "nnterp", "nnterp", "transformers4", works=("steer",)),
    Entrant("bare", "bare forward passes", "transformers", works=("forward",)),
    Entrant("scikit_learn", "scikit-learn loop", "scikit-learn", works=("probe",)),
)

BARE = next(entrant for entrant in ENTRANTS if entrant.name == "bare")
PLAIN = next(entrant for entrant in ENTRANTS if entrant.name == "plain")
OURS = ENTRANTS[0]


def takes_part(entrant: Entrant, task: Task, names: list[str] | None) -> bool:
    """Whether it does this kind of work; `names` leaves out all others but ourselves."""
    named = names is None or entrant.name in names or entrant is OURS
    return named and kind(task) in entrant.works
