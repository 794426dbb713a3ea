"""The factors of a study: in what its arms differ, and which cell has which level of each.

A cell is a method of an arm. It reads a text, by a source model, at a position, with a method;
each of these that is not the same in all cells is a factor. A factorial study has every combination
of the levels of its factors once.
"""

import itertools
from dataclasses import dataclass

from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError

FACTORS = ("text", "source", "position", "method")
"""What may differ, in the order of the tables. The text joins its elicitation and its writer."""


@dataclass(frozen=True)
class Factor:
    """Something that differs between the cells; its first level is that of the first cell."""

    name: str
    levels: tuple[str, str]


@dataclass(frozen=True)
class Cell:
    """One method of one arm, and the level 0 or 1 that it has of each factor."""

    arm: str
    method: str
    place: tuple[int, ...]


@dataclass(frozen=True)
class Design:
    """The factors of a study and all of its cells, the first cell having level 0 throughout."""

    factors: tuple[Factor, ...]
    cells: tuple[Cell, ...]

    def cell(self, place: tuple[int, ...]) -> Cell:
        """The cell with these levels."""
        return next(cell for cell in self.cells if cell.place == place)

    def levels(self, cell: Cell) -> dict[str, str]:
        """The level that a cell has of each factor."""
        return {f.name: f.levels[at] for f, at in zip(self.factors, cell.place, strict=True)}

    def __str__(self) -> str:
        factors = (f"{f.name} {f.levels[0]} or {f.levels[1]}" for f in self.factors)
        return f"{len(self.cells)} cells a trait, every combination of {'; '.join(factors)}"


def design(config: Config) -> Design:
    """The design that params.yaml describes.

    Raises:
        TraitsteerError: a factor has more than two levels, nothing differs, or a combination of
            levels is missing or there twice.
    """
    found = {
        (name, method): (config.text(name), arm.source, arm.position, method)
        for name in config.study.arms
        for arm in [config.arm(name)]
        for method in arm.methods
    }
    axes = []
    for axis, factor in enumerate(FACTORS):
        levels = tuple(dict.fromkeys(values[axis] for values in found.values()))
        if len(levels) > 2:
            raise TraitsteerError(
                f"The arms of the study have {len(levels)} levels of {factor} "
                f"({', '.join(levels)}), expected two; name fewer arms in study.arms."
            )
        if len(levels) == 2:
            axes.append((axis, Factor(factor, (levels[0], levels[1]))))
    if not axes:
        raise TraitsteerError(
            "All cells of the study are alike, expected arms that differ; take "
            "profiles/pocket-factorial.yaml as the pattern."
        )
    factors = tuple(factor for _, factor in axes)
    cells = tuple(
        Cell(arm, method, tuple(factor.levels.index(values[axis]) for axis, factor in axes))
        for (arm, method), values in found.items()
    )
    _refuse_incomplete(factors, [cell.place for cell in cells])
    return Design(factors, cells)


def _refuse_incomplete(factors: tuple[Factor, ...], places: list[tuple[int, ...]]) -> None:
    for place in itertools.product((0, 1), repeat=len(factors)):
        if (count := places.count(place)) != 1:
            levels = (f"{f.name} {f.levels[at]}" for f, at in zip(factors, place, strict=True))
            raise TraitsteerError(
                f"The study has {count} cells with {', '.join(levels)}, expected one: a factorial "
                f"study has each of the {2 ** len(factors)} combinations once; take "
                "profiles/pocket-factorial.yaml as the pattern."
            )
