"""What the command finds, as records that are written to `results.json` and shown in the table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Row:
    """One contender at one work."""

    name: str
    title: str
    version: str
    seconds: list[float]
    """Of each round."""
    median: float | None
    """None of a contender that could not do it."""
    ratio: float | None
    """Median over that of ours."""
    right: bool | None
    """Whether its result is that of the reference; None where there is none to compare."""
    found: str
    choice: str
    """The batch size or solver that it did best with."""
    remark: str = ""


@dataclass
class Limit:
    """The least time that the arithmetic or the bytes of a work take on this machine."""

    seconds: float
    what: str
    share: float | None = None
    """What part of that speed ours reaches."""
    bare: float | None = None
    """What part of that speed the bare forward passes reach in what they run."""


@dataclass
class Table:
    """All contenders at one work."""

    name: str
    title: str
    about: str
    repeats: int
    rows: list[Row]
    limit: Limit | None = None


@dataclass
class Series:
    """Ours at growing sizes."""

    name: str
    title: str
    sizes: list[int]
    seconds: list[float]
    peaks: list[int | None]
    """Bytes above what was resident before, without the result itself."""
    exponent: float
    """Slope of log seconds over log size, by least squares."""


@dataclass
class Results:
    """What was found on one machine, by one run or by runs of single works."""

    machine: dict[str, str]
    versions: dict[str, str]
    tables: list[Table] = field(default_factory=list)
    growth: list[Series] = field(default_factory=list)

    def packed(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @staticmethod
    def unpacked(packed: dict[str, Any]) -> "Results":
        """Read back what `packed` gave."""
        tables = [
            Table(
                **table
                | {
                    "rows": [Row(**row) for row in table["rows"]],
                    "limit": table["limit"] and Limit(**table["limit"]),
                }
            )
            for table in packed["tables"]
        ]
        growth = [Series(**series) for series in packed["growth"]]
        return Results(packed["machine"], packed["versions"], tables, growth)

    def after(self, earlier: "Results", order: Sequence[str]) -> "Results":
        """With the works of an earlier run that this one left out, if it was the same machine."""
        if earlier.machine != self.machine:
            return self
        tables = {table.name: table for table in [*earlier.tables, *self.tables]}
        return Results(
            self.machine,
            earlier.versions | self.versions,
            sorted(tables.values(), key=lambda table: order.index(table.name.partition("_")[0])),
            self.growth or earlier.growth,
        )
