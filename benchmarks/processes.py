"""One process for each contender, kept between calls, and ended when it fails or takes too long."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from benchmarks.entrants import OWN, Entrant
from benchmarks.environments import python_of
from benchmarks.tasks import Task, kind, packed
from benchmarks.worker import THREADS
from traitsteer.words.threads import SPINS

ROOT = Path(__file__).parent.parent
_LONGEST_REASON = 240


class FailedError(Exception):
    """A contender did not answer; the message is one sentence that says why."""


class Process:
    """A contender that has loaded the model of a folder; started at the first call."""

    def __init__(
        self,
        entrant: Entrant,
        model: Path,
        scratch: Path,
        patience: float,
        missing: str | None = None,
    ) -> None:
        self.entrant = entrant
        self._missing = missing
        self.versions: dict[str, str] = {}
        self._model = model
        self._patience = patience
        self._log = scratch / f"{entrant.name}.log"
        self._save = scratch / f"{entrant.name}.safetensors"
        self._running: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        """Call a method of the contender; raises FailedError."""
        if self._running is None:
            self._start()
        assert self._running is not None and self._running.stdin is not None
        request = {"call": name, "arguments": arguments, "save": str(self._save)}
        self._save.unlink(missing_ok=True)
        try:
            self._running.stdin.write(json.dumps(request) + "\n")
            self._running.stdin.flush()
        except BrokenPipeError:
            raise FailedError(self._why()) from None
        answer = self._answer()
        if self._save.exists():
            saved = load_file(self._save)
            answer["result"] = saved["result"] if saved.keys() == {"result"} else saved
        return answer

    def do(self, task: Task) -> dict[str, Any]:
        """Let the contender do a task; raises FailedError."""
        return self.call(kind(task), task=packed(task))

    def close(self) -> None:
        """End the process."""
        if self._running is not None:
            self._running.kill()
            self._ended()

    def _start(self) -> None:
        if self._missing is not None:
            raise FailedError(self._missing)
        environment = self.entrant.environment
        python = sys.executable if environment == OWN else str(python_of(environment))
        if not Path(python).exists():
            raise FailedError(f"It cannot run: benchmarks/.venv/{environment} was not made.")
        settings = {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
            "OMP_NUM_THREADS": str(THREADS),
            "HF_HUB_OFFLINE": "1",
            "TQDM_DISABLE": "1",
        } | SPINS
        who = [self.entrant.name, str(self._model), self.entrant.package]
        with self._log.open("w", encoding="utf-8") as log:
            self._running = subprocess.Popen(
                [python, "-m", "benchmarks.worker", *who],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env=os.environ | settings,
            )
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=_pump, args=(self._running, self._lines.put))
        self._reader.start()
        self.versions = self._answer()

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=self._patience)
        except queue.Empty:
            self.close()
            raise FailedError(f"It gave no answer within {self._patience:.0f} s.") from None
        if line is None:
            raise FailedError(self._why())
        return dict(json.loads(line))

    def _ended(self) -> int:
        """Wait for the end of the process and close its pipes; its exit status."""
        assert self._running is not None and self._running.stdin is not None
        status = self._running.wait()
        self._reader.join()
        with suppress(BrokenPipeError):  # What was not written yet has no reader any more.
            self._running.stdin.close()
        self._running = None
        return status

    def _why(self) -> str:
        """The last line that the process wrote before it ended, or the signal that ended it."""
        ended = self._ended()
        if ended < 0:
            return f"It was ended by signal {-ended}."
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        said = [" ".join(line.split()) for line in lines if line.strip()]
        reason = said[-1][:_LONGEST_REASON] if said else f"exit status {ended}"
        return f"It failed: {reason}"


def _pump(process: "subprocess.Popen[str]", put: Callable[[str | None], None]) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            put(line)
    put(None)


@contextmanager
def processes(
    entrants: list[Entrant],
    model: Path,
    scratch: Path,
    patience: float,
    missing: Mapping[str, str] | None = None,
) -> Iterator[dict[str, Process]]:
    """Processes by the contender's name, ended on the way out.

    Args:
        scratch: where results and logs of the processes lie.
        patience: seconds that one answer may take.
        missing: packages that could not be installed, and why.
    """
    why = missing or {}
    made = {e.name: Process(e, model, scratch, patience, why.get(e.package)) for e in entrants}
    try:
        yield made
    finally:
        for process in made.values():
            process.close()
