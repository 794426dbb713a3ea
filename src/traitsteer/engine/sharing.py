"""Prefix sharing: below its steered block a row depends on its tokens alone.

Rows that are equal there are computed once.

A *level* is the input of a block, or the output of the last one. The rows of one text (prompt, and
response so far) that are not steered below a level have one *run* there; a row that is steered
below it has a run with those of the same text and setting, which differ in their seeds alone. A
pass computes each run once, so its batch grows from block to block, and from step to step while
texts part.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from traitsteer.engine.rows import Row, Steering

Numbers = NDArray[np.int64]
_WORTH = 0.85
"""Rows are told apart once their runs are more than this share of them, over all blocks."""


@dataclass(frozen=True)
class Level:
    """The batch at one level."""

    place: Numbers
    """[rows]: where each row's run stands in the batch."""
    first: Numbers
    """[runs]: one row of each run, in the order of the batch."""


def as_they_lie(places: Numbers, width: int) -> bool:
    """Whether these places are all of a batch of this width, in its order."""
    return np.array_equal(places, np.arange(width))


@dataclass(frozen=True)
class Move:
    """What lies in some slots of these blocks is copied to others, all at once."""

    blocks: range
    source: Numbers
    """[copies]: slots."""
    target: Numbers
    """[copies]: the slots that these are copied to."""


@dataclass(frozen=True)
class Alike:
    """What tells rows apart, as numbers `[rows]`."""

    text: Numbers
    """Equal for rows of one text; from 0, with no number left out."""
    layer: Numbers
    """The block that a row is steered at; the number of blocks if it is not."""
    setting: Numbers
    """From 1; among rows of one text, equal for those of one setting."""

    @staticmethod
    def of(rows: Sequence[Row], steerings: Sequence[Steering | None], layers: int) -> "Alike":
        """Rows of which no response is known, under these steerings."""
        texts: dict[object, int] = {}
        settings: dict[object, int] = {}
        text, layer, setting = [], [], []
        for row, steering in zip(rows, steerings, strict=True):
            text.append(texts.setdefault(row.prompt_ids, len(texts)))
            layer.append(layers if steering is None else steering.layer)
            setting.append(settings.setdefault(key_of(steering), len(settings) + 1))
        return Alike(*(np.array(each, dtype=np.int64) for each in (text, layer, setting)))

    @staticmethod
    def apart(rows: int, layers: int) -> "Alike":
        """Rows of which no two are one anywhere."""
        every = np.arange(rows)
        return Alike(every, np.full_like(every, layers), np.ones_like(every))

    @property
    def texts(self) -> int:
        """How many there are."""
        return int(self.text.max(initial=-1)) + 1

    def chosen(self, rows: Numbers) -> "Alike":
        """Of these rows alone, in this order."""
        _, text = np.unique(self.text[rows], return_inverse=True)
        return Alike(text, self.layer[rows], self.setting[rows])

    def joined(self, others: "Alike") -> "Alike":
        """With others after them, whose texts have nothing to do with these."""
        text = others.text + self.texts
        return Alike(
            np.concatenate([self.text, text]),
            np.concatenate([self.layer, others.layer]),
            np.concatenate([self.setting, others.setting]),
        )

    def runs(self, level: int) -> Numbers:
        """Numbers `[rows]`, equal for rows that have one run at this level."""
        own = np.where(self.layer < level, self.setting, 0)
        settings = int(self.setting.max(initial=0))
        return self.text * (settings + 1) + own

    def level(self, number: int) -> Level:
        """The batch at this level, its runs in the order of their first rows."""
        first, run = _in_order(self.runs(number))
        return Level(run, first)


def key_of(steering: Steering | None) -> object:
    """Equal for steerings that add the same."""
    if steering is None:
        return None
    return steering.layer, steering.coefficient, id(steering.vector), steering.positions


class Runs:
    """The runs of the rows that are being decoded; a run's place at a block is its slot there.

    Rows that are not shared are runs of their own, in the slots that have their numbers. Nor are
    rows that were, once there is little left to share: keeping account of it takes time as well.
    """

    def __init__(self, layers: int, shared: bool) -> None:
        self.layers, self.shared = layers, shared
        none = np.empty(0, dtype=np.int64)
        self.alike = Alike(none, none, none)
        self.levels = [Level(none, none)] * layers
        """At the input of each block."""
        self.settled = True
        """Whether the levels are those of the rows and their texts."""

    def __len__(self) -> int:
        """Rows."""
        return len(self.alike.text)

    @property
    def slots(self) -> list[int]:
        """How many are in use at each block."""
        return [len(level.first) for level in self.levels]

    @property
    def parted(self) -> bool:
        """Whether no two rows have one text."""
        return self.alike.texts == len(self)

    def admit(self, rows: Sequence[Row]) -> list[Level]:
        """Rows after those that are there; their levels, which follow the slots in use."""
        if self.shared:
            new = Alike.of(rows, [row.applied for row in rows], self.layers)
        else:
            new = Alike.apart(len(rows), self.layers)
        levels = [new.level(block) for block in range(self.layers)]
        self.levels = [
            Level(
                np.concatenate([old.place, new.place + len(old.first)]),
                np.concatenate([old.first, new.first + len(self)]),
            )
            for old, new in zip(self.levels, levels, strict=True)
        ]
        self.alike = self.alike.joined(new)
        return levels

    def tell(self, tokens: Numbers) -> None:
        """Add one token to the text of each of the last rows, all of those with one text."""
        told = np.zeros(len(self), dtype=np.int64)
        told[len(self) - len(tokens) :] = tokens
        pairs = self.alike.text * (told.max(initial=0) + 1) + told
        _, text = np.unique(pairs, return_inverse=True)
        alike = Alike(text, self.alike.layer, self.alike.setting)
        self.settled &= alike.texts == self.alike.texts
        self.alike = alike

    def keep(self, rows: Numbers) -> None:
        """These rows alone stay, in this order."""
        self.alike = self.alike.chosen(rows)
        self.levels = [Level(level.place[rows], level.first) for level in self.levels]
        self.settled = False

    def settle(self) -> list[Move]:
        """Give every run a slot of its own and use the first slots alone; what to copy for that."""
        if not self.parted:
            runs = sum(len(np.unique(self.alike.runs(block))) for block in range(self.layers))
            if runs > _WORTH * len(self) * self.layers:
                self.alike = Alike.apart(len(self), self.layers)
        moves: list[Move] = []
        levels: list[Level] = []
        last: tuple[Numbers, Numbers] | None = None
        for block, before in enumerate(self.levels):
            now = before.place, self.alike.runs(block)
            if last is None or not all(map(np.array_equal, now, last)):
                level, source, target = _settled(*now)
                moves.append(Move(range(block, block), source, target))
                last = now
            levels.append(level)
            moves[-1] = replace(moves[-1], blocks=range(moves[-1].blocks.start, block + 1))
        self.levels, self.settled = levels, True
        return [move for move in moves if len(move.source)]


def _in_order(runs: Numbers) -> tuple[Numbers, Numbers]:
    """The first row of each run, in the order of these rows, and the place of each row's run."""
    _, first, run = np.unique(runs, return_index=True, return_inverse=True)
    order = first.argsort()
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return first[order], place[run]


def _settled(place: Numbers, runs: Numbers) -> tuple[Level, Numbers, Numbers]:
    """Slots of the runs of rows whose past lies in `place`; which slots are copied to which.

    Of the runs that share a past, the first stays where that is. Where every row is a run of its
    own, it gets the slot of its number, so that blocks take over from each other as they are.
    """
    first, run = _in_order(runs)
    past = place[first]
    slot = np.arange(len(first))
    if len(first) < len(place):
        _, heirs = np.unique(past, return_index=True)
        stays = np.zeros(len(first), dtype=bool)
        stays[heirs] = past[heirs] < len(first)
        free = np.ones(len(first), dtype=bool)
        free[past[stays]] = False
        slot[stays] = past[stays]
        slot[~stays] = np.flatnonzero(free)
    by_slot = np.empty_like(first)
    by_slot[slot] = first
    moved = slot != past
    return Level(slot[run], by_slot), past[moved], slot[moved]
