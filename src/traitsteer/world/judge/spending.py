"""Calls and tokens that a judge has cost, counted on disk across runs, against a budget.

The file holds one JSON object a line, appended before a call is sent and corrected after it. So a
killed run leaves its count behind, and runs at the same time see each other's. Deleting the file
begins the count anew.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from traitsteer.words.errors import TraitsteerError


@dataclass(frozen=True)
class Budget:
    """Most calls and most tokens, in and out together; None: no limit."""

    calls: int | None = None
    tokens: int | None = None


class Spending:
    """The count in one file, held against a budget."""

    def __init__(self, path: Path, budget: Budget) -> None:
        self.path, self.budget = path, budget
        self.calls = self.tokens = 0
        self._read_to = 0

    def begin(self, tokens: int) -> None:
        """Count a call of about so many tokens that is about to be sent.

        Raises:
            TraitsteerError: it would pass the budget; nothing is counted.
        """
        self._catch_up()
        for name, spent, more, most in (
            ("calls", self.calls, 1, self.budget.calls),
            ("tokens", self.tokens, tokens, self.budget.tokens),
        ):
            if most is not None and spent + more > most:
                raise TraitsteerError(
                    f"The judge has cost {spent} {name} so far and judge.budget.{name} is {most}; "
                    "what was scored is kept: raise the budget and run again, or delete "
                    f"{self.path} to begin the count anew."
                )
        self._append(1, tokens)

    def take_back(self, estimated: int) -> None:
        """Take a call out of the count that was turned away and cost nothing."""
        self._append(-1, -estimated)

    def correct(self, estimated: int, tokens: int) -> None:
        """Put what a call really cost in the place of its estimate."""
        if tokens != estimated:
            self._append(0, tokens - estimated)

    def _append(self, calls: int, tokens: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A short line that is appended in one write is never torn by another run's.
        with self.path.open("ab", buffering=0) as file:
            file.write(json.dumps({"calls": calls, "tokens": tokens}).encode() + b"\n")

    def _catch_up(self) -> None:
        """Add the lines that were written since the last look, by this run and by others."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < self._read_to:
            self.calls = self.tokens = self._read_to = 0
        if not size:
            return
        with self.path.open("rb") as file:
            file.seek(self._read_to)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read_to += len(line)
                try:
                    each = json.loads(line)
                    self.calls += each["calls"]
                    self.tokens += each["tokens"]
                except (ValueError, KeyError, TypeError) as error:
                    raise TraitsteerError(
                        f"{self.path} holds a line that is no count of calls and tokens; delete "
                        "the file to begin the count anew."
                    ) from error
