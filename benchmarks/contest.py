"""One work, all its contenders: warm up, choose, alternate, check, compare with ours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.checks import Verdict
from benchmarks.entrants import BARE, OURS, Entrant
from benchmarks.limits import Machine
from benchmarks.processes import FailedError
from benchmarks.results import Limit, Row, Table
from benchmarks.rounds import Times, alternate
from benchmarks.tasks import Probing, Task, kind


class Contending(Protocol):
    """What a contest asks of a contender; `processes.Process` is one."""

    entrant: Entrant
    versions: dict[str, str]

    def do(self, task: Task) -> dict[str, Any]:
        """`seconds` and `result` of a task; raises FailedError."""
        ...


@dataclass(frozen=True)
class Work:
    """A task with the words and the yardsticks that stand beside it."""

    name: str
    title: str
    about: str
    task: Task
    check: Callable[[Any], Verdict]
    operations: int | None = None
    """Fewest operations that it takes."""
    bytes: int = 0
    """Fewest bytes that it moves."""
    beside: Task | None = None
    """A task of other kind whose time stands in the same table."""
    beside_operations: int = 0
    """Operations of that task."""


_CLOSE = 1.3
"""Times the fastest warm-up: a choice that took no longer is tried once more."""


class _Turn:
    """A contender at a task: chooses, runs, checks each result and keeps the worst verdict."""

    def __init__(self, contender: Contending, task: Task, check: Callable[[Any], Verdict]) -> None:
        self.contender, self.task, self.check = contender, task, check
        self.verdict: Verdict | None = None

    def choose(self) -> None:
        """Warm up at each choice and keep the fastest; raises FailedError."""
        entrant = self.contender.entrant
        choices = {choice_of(choice): choice for choice in entrant.choices(self.task)}
        took = {name: self._warmed_up(choice) for name, choice in choices.items()}
        close = _CLOSE * min(took.values())
        if len(choices) > 1:
            # A busy moment must not decide between those that are nearly as fast.
            for name in [name for name, seconds in took.items() if seconds <= close]:
                took[name] = min(took[name], self._warmed_up(choices[name]))
        self.task = choices[min(took, key=lambda name: took[name])]

    def _warmed_up(self, choice: Task) -> float:
        return float(self.contender.do(self.contender.entrant.warm_up(choice))["seconds"])

    def __call__(self) -> float:
        """One round; seconds of the whole work, also where only a part of it was fitted."""
        answer = self.contender.do(self.task)
        verdict = self.check(answer["result"])
        if self.verdict is None or self.verdict.right:
            self.verdict = verdict
        share = self.task.share() if isinstance(self.task, Probing) else 1.0
        return float(answer["seconds"]) / share


def choice_of(task: Task) -> str:
    """What a contender chose, in words."""
    if isinstance(task, Probing):
        return task.solver
    return f"{task.rows} rows"


def contest(
    work: Work,
    contenders: Mapping[str, Contending],
    machine: Machine | None,
    repeats: int,
    say: Callable[[str], None] = lambda line: None,
) -> Table:
    """Run a work with everybody who can do it; a contender that cannot has a row that says why."""
    turns: dict[str, _Turn] = {}
    reasons: dict[str, str] = {}
    for name, contender in contenders.items():
        beside = work.beside is not None and kind(work.beside) in contender.entrant.works
        task = work.beside if beside else work.task
        assert task is not None
        turn = _Turn(contender, task, _no_check if beside else work.check)
        try:
            turn.choose()
            say(f"{work.name} warm-up: {name}, {choice_of(turn.task)}")
        except FailedError as failure:
            reasons[name] = str(failure)
            say(f"{work.name} warm-up: {name}: {failure}")
            continue
        turns[name] = turn
    shown = alternate(turns, repeats, lambda line: say(f"{work.name} {line}"))
    ours, bare = (shown[name].median if name in shown else None for name in (OURS.name, BARE.name))
    rows = []
    for name, contender in contenders.items():
        times = shown.get(name, Times(failure=reasons.get(name)))
        rows.append(_row(contender, turns.get(name), times, ours))
    return Table(
        work.name, work.title, work.about, repeats, rows, _limit(work, machine, ours, bare)
    )


def _no_check(result: Any) -> Verdict:  # noqa: ANN401
    return Verdict(True, "")


def _row(contender: Contending, turn: _Turn | None, times: Times, ours: float | None) -> Row:
    entrant, took = contender.entrant, times.median
    verdict = turn.verdict if turn else None
    chose = turn is not None and len(entrant.choices(turn.task)) > 1
    remark = times.failure or ""
    if turn and isinstance(turn.task, Probing) and turn.task.share() < 1:
        penalties = ", ".join(f"{turn.task.penalties[p]:.3g}" for p in turn.task.fitted_penalties)
        layers = ", ".join(map(str, turn.task.fitted_layers))
        remark = (
            f"timed on {turn.task.share():.1%} of the fits (layer {layers}; penalties {penalties}) "
            "and scaled"
        )
    return Row(
        name=entrant.name,
        title=entrant.title,
        version=contender.versions.get(entrant.package, ""),
        seconds=times.seconds,
        median=took,
        ratio=None if took is None or ours is None else took / ours,
        right=verdict.right if verdict and verdict.found else None,
        found=verdict.found if verdict else "",
        choice=choice_of(turn.task) if turn and chose else "",
        remark=remark,
    )


def _limit(
    work: Work, machine: Machine | None, ours: float | None, bare: float | None
) -> Limit | None:
    if work.operations is None or machine is None:
        return None
    arithmetic = work.operations / machine.flops
    moving = work.bytes / machine.bytes
    seconds = max(arithmetic, moving)
    what = f"{work.operations / 1e9:.3g} GFLOP at {machine.flops / 1e9:.0f} GFLOP/s"
    if moving > arithmetic:
        what = f"{work.bytes / 1e9:.3g} GB at {machine.bytes / 1e9:.1f} GB/s"
    least = work.beside_operations / machine.flops
    return Limit(
        seconds,
        what,
        None if ours is None else seconds / ours,
        None if bare is None else least / bare,
    )
