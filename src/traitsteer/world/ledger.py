"""The ledger of attempts: a line for each vector searched under a protocol, kept for good.

A line is added before the first answer is scored, so that an attempt that was given up counts too.
The same vector under the same protocol is one attempt, however often it is run again: its files
come out the same. Lines are only ever added; the file is committed beside the results.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from traitsteer.words import layout
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.files import digest, read_jsonl
from traitsteer.world.repository import in_repository


@dataclass(frozen=True)
class Attempt:
    """One search: what was searched, and under which terms."""

    trait: str
    arm: str
    method: str
    protocol: str
    vectors: str
    """SHA-256 of the vectors of all layers."""

    @property
    def key(self) -> str:
        """Equal for attempts that give the same files."""
        return digest(asdict(self))


@dataclass(frozen=True)
class Searches:
    """How often a trait and arm were searched."""

    here: int
    """Attempts under the protocol asked for."""
    elsewhere: int
    """Attempts under any other."""


def record(attempt: Attempt) -> None:
    """Add an attempt, unless it is there.

    Raises:
        TraitsteerError: a line of the ledger cannot be read.
    """
    time = datetime.now(UTC).isoformat(timespec="seconds")
    add({"key": attempt.key, "time": time, **asdict(attempt)})


def add(entry: dict[str, str]) -> None:
    """Add a line of a ledger, such as one of another clone, unless its attempt is there.

    Raises:
        TraitsteerError: a line of the ledger cannot be read.
    """
    path = in_repository(layout.LEDGER)
    if any(line["key"] == entry["key"] for line in _lines(path)):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(entry) + "\n"
    # One write at the end of the file: searches that run at once do not mix their lines.
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def counts(
    cells: Sequence[tuple[str, str]], protocols: dict[str, str]
) -> dict[tuple[str, str], Searches]:
    """Attempts on each (trait, arm), those under the trait's present protocol and all others.

    Args:
        protocols: SHA-256 of the present protocol of each trait.
    """
    # Where branches that ran the same study were merged, an attempt has two lines.
    lines = {line["key"]: line for line in _lines(in_repository(layout.LEDGER))}.values()
    found = {}
    for trait, arm in cells:
        own = [line["protocol"] for line in lines if (line["trait"], line["arm"]) == (trait, arm)]
        here = own.count(protocols[trait])
        found[trait, arm] = Searches(here, len(own) - here)
    return found


def _lines(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        return read_jsonl(path)
    except TraitsteerError as error:
        raise TraitsteerError(
            f"A line of the ledger {path} cannot be read ({error}) Remove that line alone: the "
            "other attempts stay counted."
        ) from error
