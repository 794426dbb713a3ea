"""Records of what is said of one run in the tracking store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Table:
    """Rows of JSON values under named columns; a missing value is None."""

    columns: tuple[str, ...]
    rows: list[list[Any]]


@dataclass(frozen=True)
class Series:
    """One metric over steps; None marks a step that has no value."""

    values: Sequence[float | None]


@dataclass(frozen=True)
class Source:
    """A data file that a run was made from, with the hash that DVC knows it by."""

    name: str
    path: Path
    digest: str


@dataclass(frozen=True)
class Run:
    """Everything that is said of one run. Metrics that are None are left out."""

    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float | Series | None] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    """Markdown that the run's page opens with."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Path among the run's artifacts, and the file that is copied there."""
    tables: Mapping[str, Table] = field(default_factory=dict)
    sources: Sequence[Source] = ()
    children: Sequence["Run"] = ()
