"""`python -m benchmarks`: everybody side by side, and the table that docs show."""

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.utils import logging as transformers_logging

from benchmarks import environments, random_model, report, works
from benchmarks.contest import Work, contest
from benchmarks.entrants import BARE, ENTRANTS, OURS, OWN, PLAIN, takes_part
from benchmarks.growth import growth
from benchmarks.limits import Dimensions, Machine
from benchmarks.processes import Process, processes
from benchmarks.results import Results
from benchmarks.worker import THREADS
from traitsteer.world import machine

ROOT = Path(__file__).parent.parent
NUMBERS = ROOT / "benchmarks/results.json"


def main(arguments: list[str]) -> None:
    """Measure and print; on the page, works that were left out stay as they were."""
    if arguments[:1] == ["gpu"]:
        from benchmarks.gpu import main as on_a_gpu

        on_a_gpu(arguments[1:])
        return
    asked = _parsed(arguments)
    sizes = works.QUICK if asked.quick else works.FULL
    transformers_logging.disable_progress_bar()
    chosen = [e for e in ENTRANTS if asked.contenders is None or e.name in asked.contenders]
    missing: dict[str, str] = {}
    for environment in sorted({e.environment for e in chosen} - {OWN}):
        missing |= environments.make(environment)
    results = Results(
        machine.described() | {"threads": str(THREADS)},
        {"python": platform.python_version()},
    )

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        random_model.write(scratch / "model", sizes.shape)
        runs = _Runs(results, asked, scratch, missing)
        runs.on_model(scratch / "model", sizes)
        if "pocket" in asked.only:
            runs.on_pocket(sizes)
        if "probe" in asked.only:
            runs.probes(sizes)
        if "growth" in asked.only:
            model = scratch / "model"
            results.growth = growth(sizes, model, scratch, asked.patience, _say)
    if not asked.quick and asked.contenders is None:
        if NUMBERS.exists():
            earlier = Results.unpacked(json.loads(NUMBERS.read_text(encoding="utf-8")))
            results = results.after(earlier, works.NAMES)
        report.write(results, ROOT / "docs", NUMBERS)
        _say("wrote docs/benchmarks.md, docs/benchmarks.png and benchmarks/results.json")
    else:
        _say(report.markdown(results))


class _Runs:
    """Opens the processes that a work needs, runs it and prints its table."""

    def __init__(
        self, results: Results, asked: argparse.Namespace, scratch: Path, missing: dict[str, str]
    ) -> None:
        self.results, self.asked, self.scratch = results, asked, scratch
        self.missing = missing
        """Packages that could not be installed, and why."""

    def on_model(self, model: Path, sizes: works.Sizes) -> None:
        """Reading and steering on the random model."""
        wanted = set(self.asked.only)
        if not wanted & {"read", "grid", "mixed"}:
            return
        with self._started(model) as (started, plain, shape, speed):
            if "read" in wanted:
                for work in works.reading_works(sizes, plain, shape):
                    self._run(work, started, speed)
            if wanted & {"grid", "mixed"}:
                _say("plain answers for reference")
                for work in works.steering_works(sizes, plain, shape):
                    if work.name in wanted:
                        self._run(work, started, speed)

    def on_pocket(self, sizes: works.Sizes) -> None:
        """Steering on the embedded pair."""
        with self._started(ROOT / "models/pocket/instruct") as (started, plain, shape, speed):
            self._run(works.pocket_work(sizes, ROOT, plain, shape), started, speed)

    def probes(self, sizes: works.Sizes) -> None:
        """The probe needs a model only to start ours."""
        with self._processes(self.scratch / "model") as started:
            for work in works.probe_works(sizes):
                self._run(work, started, None)

    def _run(self, work: Work, started: dict[str, Process], speed: Machine | None) -> None:
        taking = {
            name: process
            for name, process in started.items()
            if takes_part(process.entrant, work.task, self.asked.contenders)
            or (work.beside is not None and process.entrant is BARE)
        }
        table = contest(work, taking, speed, self.asked.repeats, _say)
        self.results.tables.append(table)
        for process in taking.values():
            for package in ("torch", "transformers"):
                if package in process.versions:
                    name = f"{package} ({process.entrant.environment})"
                    self.results.versions[name] = process.versions[package]
        _say(report.table(table))

    @contextmanager
    def _started(
        self, model: Path
    ) -> Iterator[tuple[dict[str, Process], Process, Dimensions, Machine]]:
        with self._processes(model) as started:
            bare = started[BARE.name]
            shape = Dimensions(**bare.call("dimensions")["result"])
            speed = Machine(**bare.call("machine")["result"])
            yield started, started[PLAIN.name], shape, speed

    @contextmanager
    def _processes(self, model: Path) -> Iterator[dict[str, Process]]:
        names, always = self.asked.contenders, (OURS, PLAIN, BARE)
        taking = [e for e in ENTRANTS if names is None or e.name in names or e in always]
        with processes(taking, model, self.scratch, self.asked.patience, self.missing) as started:
            yield started


def _parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, for trying out")
    parser.add_argument("--only", type=_list(works.NAMES), default=list(works.NAMES))
    parser.add_argument("--contenders", type=_list([e.name for e in ENTRANTS]), default=None)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--patience", type=float, default=900.0, help="seconds for one answer")
    return parser.parse_args(arguments)


def _list(allowed: Iterable[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in allowed:
                raise argparse.ArgumentTypeError(
                    f"{name!r} is not known; expected some of {', '.join(allowed)}"
                )
        return names

    return parse


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
