"""Faults of a trait folder as lint finds them, and how they are told."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One fault and where it stands; line 0 means the file as a whole."""

    level: Severity
    file: Path
    line: int
    sentence: str


def report(findings: Sequence[Finding]) -> str:
    """One line a finding, as `file:line: level: sentence`, and a line that counts them."""
    lines = [f"{f.file}{f':{f.line}' if f.line else ''}: {f.level}: {f.sentence}" for f in findings]
    counts = Counter(finding.level for finding in findings)
    levels: tuple[Severity, ...] = ("error", "warning")
    total = (f"{counts[level]} {level}{'s' * (counts[level] != 1)}" for level in levels)
    return "\n".join([*lines, ", ".join(total)])
