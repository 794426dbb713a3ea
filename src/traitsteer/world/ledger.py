"""The ledger of attempts: a line for each vector searched under a protocol, kept for good.

A line is added before the first answer is scored, so that an attempt that was given up counts too.
The same vector under the same protocol is one attempt, however often it is run again: its files
come out the same. Lines are only ever added; the file is committed beside the results.

Git and `dvc exp apply` put another state of the file in its place, and the copy that a queued
experiment runs in is removed. So lines also lie in .cache/, all of them are counted, and whoever
adds one gives every file the lines that it lacks.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from traitsteer.words import layout
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.files import digest, read_text
from traitsteer.world.repository import in_repository

Entry = dict[str, str]
NEEDED = ("key", "trait", "arm", "protocol")
"""What every line must name to be counted."""


@dataclass(frozen=True)
class Attempt:
    """One search: what was searched, and under which terms."""

    trait: str
    arm: str
    method: str
    model: str
    """Name of the steered model."""
    protocol: str
    vectors: str
    """SHA-256 of the vectors of all layers."""

    @property
    def key(self) -> str:
        """Equal for attempts that give the same files; the protocol tells models apart."""
        return digest({name: value for name, value in asdict(self).items() if name != "model"})


@dataclass(frozen=True)
class Searches:
    """How often a trait and arm were searched."""

    here: int
    """Attempts under the protocol asked for."""
    elsewhere: int
    """Attempts on the same model under any other."""


def record(attempt: Attempt) -> None:
    """Add an attempt, unless it is there.

    Raises:
        TraitsteerError: a line of the ledger cannot be read.
    """
    time = datetime.now(UTC).isoformat(timespec="seconds")
    add({"key": attempt.key, "time": time, **asdict(attempt)})


def add(entry: Entry) -> None:
    """Add a line of a ledger, such as one of another clone, unless its attempt is there.

    Raises:
        TraitsteerError: a line of the ledger cannot be read.
    """
    held = {path: _lines(path) for path in _files()}
    known = _known([*held.values(), [entry]])
    for path, lines in held.items():
        there = _known([lines])
        _append(path, [line for name, line in known.items() if name not in there])


def counts(
    cells: Sequence[tuple[str, str]], protocols: dict[str, str]
) -> dict[tuple[str, str], Searches]:
    """Attempts on each (trait, arm), those under the trait's present protocol and all others.

    Others count where they steered the same model, which lines of the present protocols name; what
    a line steered that names none, as earlier versions wrote it, is not known.

    Args:
        protocols: SHA-256 of the present protocol of each trait.

    Raises:
        TraitsteerError: a line of the ledger cannot be read.
    """
    lines = _known([_lines(path) for path in _files()]).values()
    present = set(protocols.values())
    models = {line.get("model") for line in lines if line["protocol"] in present} - {None}
    found = {}
    for trait, arm in cells:
        own = [line for line in lines if (line["trait"], line["arm"]) == (trait, arm)]
        here = {line["key"] for line in own if line["protocol"] == protocols[trait]}
        same = {line["key"] for line in own if line.get("model") in models}
        found[trait, arm] = Searches(len(here), len(same - here))
    return found


def _files() -> list[Path]:
    """Where lines lie: here, in the repository that an experiment came from, and in its .cache/."""
    paths = (layout.LEDGER, in_repository(layout.LEDGER), in_repository(layout.KEPT_LEDGER))
    return list({path.resolve(): path for path in paths}.values())


def _known(files: Sequence[Sequence[Entry]]) -> dict[tuple[str, str | None], Entry]:
    """Every attempt once, as first written: files share lines, and merging leaves some twice."""
    known: dict[tuple[str, str | None], Entry] = {}
    for lines in files:
        for line in lines:
            known.setdefault((line["key"], line.get("model")), line)
    return known


def _append(path: Path, lines: Sequence[Entry]) -> None:
    if not lines:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    # One write at the end of the file: searches that run at once do not mix their lines.
    with path.open("a+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            # A file that was merged by hand may end within a line.
            text = text if file.read(1) == b"\n" else f"\n{text}"
        file.write(text.encode())


def _lines(path: Path) -> list[Entry]:
    """The lines of one file; raises TraitsteerError, which names the line, where one is broken."""
    if not path.exists():
        return []
    lines = []
    for number, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except json.JSONDecodeError as error:
            raise _broken(path, number, f"no JSON ({error.msg})") from error
        if not isinstance(line, dict):
            raise _broken(path, number, f"of type {type(line).__name__}, expected an object")
        if lacking := [name for name in NEEDED if name not in line]:
            raise _broken(path, number, f"without {' and '.join(lacking)}")
        lines.append(line)
    return lines


def _broken(path: Path, number: int, what: str) -> TraitsteerError:
    return TraitsteerError(
        f"{path}:{number} is {what}; mend or remove that line of the ledger alone: the other "
        "attempts stay counted."
    )
