"""Where to steer next: along a layer delta rises with strength, until coherence falls off a cliff.

So a layer's best setting lies just below its cliff, and what is left of a layer is a bracket: the
greatest strength that is known to be feasible, and the next one that is known not to be. The
brackets of all layers are halved together, but only where a layer could still beat the best
setting found so far; what a layer could reach is read from both ends of its bracket.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SURE = 0.8
"""Probability from which on a setting is taken to be feasible, or not to be."""


@dataclass(frozen=True)
class Point:
    """One setting of the search space."""

    layer: int
    strength: float


@dataclass(frozen=True)
class Seen:
    """What is known of one setting; `delta` may rest on a part of the questions."""

    point: Point
    delta: float | None
    chance: float
    """Probability that it is feasible."""
    error: float = 0.0
    """Standard error of the delta over questions."""
    collapsed: bool = False
    """So far below the floor that the trait score may have gone with the coherence."""


def coarse_design(
    layers: int,
    coarse_layers: int,
    strength: tuple[float, float],
    coarse_strengths: int,
    step: float,
) -> list[Point]:
    """A grid of evenly spaced layers (both ends included) and strengths (nearest cell centres)."""
    count = min(coarse_layers, layers)
    chosen = [round(at * (layers - 1) / max(count - 1, 1)) for at in range(count)]
    low, high = strength
    cell = (high - low) / coarse_strengths
    strengths = [
        round(low + round(cell * (at + 0.5) / step) * step, 6) for at in range(coarse_strengths)
    ]
    return [Point(layer, each) for layer in chosen for each in strengths]


def toward_the_cliffs(
    seen: Sequence[Seen], strength: tuple[float, float], step: float
) -> list[Point]:
    """The middle of every bracket that may hold a better setting; empty when none does.

    Args:
        seen: every setting tried so far.
        step: strengths are the least one plus multiples of it, and brackets are halved down to it.
    """
    able = [s for s in seen if s.delta is not None and s.chance >= 0.5]
    best = max(able, key=lambda s: s.delta or 0.0, default=None)
    layers = sorted({s.point.layer for s in seen})
    points = []
    for layer in layers:
        tried = sorted((s for s in seen if s.point.layer == layer), key=lambda s: s.point.strength)
        bracket = _Bracket(tried, strength, step)
        middle = bracket.middle()
        if middle is not None and (best is None or bracket.promise() > (best.delta or 0.0)):
            points.append(Point(layer, middle))
    if not points and best is not None:
        return list(_beside(best.point, layers))
    return points


class _Bracket:
    """What is left of one layer: between surely feasible and surely not feasible."""

    def __init__(self, tried: Sequence[Seen], strength: tuple[float, float], step: float) -> None:
        low, high = strength
        below = [s for s in tried if s.chance >= SURE]
        self.last = below[-1] if below else None
        self.before = below[-2] if len(below) > 1 else None
        least = self.last.point.strength if self.last else low - step
        above = [s for s in tried if s.chance <= 1 - SURE and s.point.strength > least]
        self.next = above[0] if above else None
        greatest = self.next.point.strength if self.next else high + step
        self.within = [s for s in tried if least < s.point.strength < greatest]
        self.untried = [
            at
            for count in range(1, round((greatest - least) / step))
            for at in [round(least + count * step, 6)]
            if all(abs(at - s.point.strength) > step / 2 for s in self.within)
        ]

    def middle(self) -> float | None:
        """The untried strength in the middle; None when every step was tried."""
        return self.untried[(len(self.untried) - 1) // 2] if self.untried else None

    def promise(self) -> float:
        """Delta that a setting in the bracket may reach.

        The greatest of what was seen from the lower to the upper end, with a standard error on top,
        and of what the rise up to the lower end leads to half-way between them; unbounded where an
        end is open or collapsed.
        """
        if self.last is None or self.next is None or self.next.collapsed:
            return math.inf
        ends = (self.last, *self.within, self.next)
        reach = [s.delta + s.error for s in ends if s.delta is not None]
        before = None if self.before is None else self.before.delta
        if self.before is not None and before is not None and self.last.delta is not None:
            run = self.last.point.strength - self.before.point.strength
            rise = (self.last.delta - before) / run
            width = self.next.point.strength - self.last.point.strength
            reach.append(self.last.delta + rise * width / 2)
        return max(reach, default=math.inf)


def _beside(best: Point, layers: Sequence[int]) -> Iterator[Point]:
    """The best setting's strength, half-way to the next layers that were tried on either side."""
    at = layers.index(best.layer)
    if at > 0 and best.layer - layers[at - 1] > 1:
        yield Point((best.layer + layers[at - 1]) // 2, best.strength)
    if at + 1 < len(layers) and layers[at + 1] - best.layer > 1:
        yield Point((best.layer + layers[at + 1] + 1) // 2, best.strength)
