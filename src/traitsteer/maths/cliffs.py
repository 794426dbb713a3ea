"""Where to steer next: along a layer delta rises with strength, until coherence falls off a cliff.

So a layer's best setting lies just below its cliff, and what is left of a layer is a bracket: the
greatest strength that is known to be feasible, and the next one that is known not to be. The
brackets of all layers are halved together, but only where a layer could still beat the best
setting found so far; what a layer could reach is read from both ends of its bracket.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


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
    feasible: bool


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
    seen: Sequence[Seen], strength: tuple[float, float], step: float, gain: float
) -> list[Point]:
    """The middle of every bracket that may hold a better setting; empty when none does.

    Args:
        seen: every setting tried so far.
        step: strengths are the least one plus multiples of it, and brackets are halved down to it.
        gain: points of delta by which a layer must promise to beat the best feasible setting.
    """
    best = max((s.delta for s in seen if s.feasible and s.delta is not None), default=-math.inf)
    layers = sorted({s.point.layer for s in seen})
    points = []
    for layer in layers:
        bracket = _bracket([s for s in seen if s.point.layer == layer], strength, step)
        steps = round((bracket.high - bracket.low) / step)
        if steps > 1 and bracket.promise > best + gain:
            points.append(Point(layer, round(bracket.low + steps // 2 * step, 6)))
    return points or list(_beside_the_best(seen, layers))


@dataclass(frozen=True)
class _Bracket:
    low: float
    high: float
    promise: float
    """Delta that a setting between may reach."""


def _bracket(tried: Sequence[Seen], strength: tuple[float, float], step: float) -> _Bracket:
    """What is left of one layer.

    Beyond the cliff the trait score may have gone with the coherence, so that the promise is the
    greater of both ends and of what the rise up to the lower end leads to half-way.
    """
    rising = sorted((s for s in tried if s.delta is not None), key=lambda s: s.point.strength)
    below = [s for s in rising if s.feasible]
    last = below[-1] if below else None
    low = last.point.strength if last else strength[0] - step
    above = [s for s in tried if not s.feasible and s.point.strength > low]
    next_up = min(above, key=lambda s: s.point.strength, default=None)
    high = next_up.point.strength if next_up else strength[1] + step
    if last is None or next_up is None:
        return _Bracket(low, high, math.inf)
    reach = [s.delta for s in (last, next_up) if s.delta is not None]
    if len(below) > 1:
        before = below[-2]
        run = last.point.strength - before.point.strength
        rise = ((last.delta or 0.0) - (before.delta or 0.0)) / run
        reach.append((last.delta or 0.0) + rise * (high - low) / 2)
    return _Bracket(low, high, max(reach))


def _beside_the_best(seen: Sequence[Seen], layers: Sequence[int]) -> Iterator[Point]:
    """The best setting's strength, half-way to the next layers that were tried on either side."""
    able = [s for s in seen if s.feasible and s.delta is not None]
    if not able:
        return
    best = max(able, key=lambda s: s.delta or 0.0).point
    for others in (
        [x for x in layers if x < best.layer][-1:],
        [x for x in layers if x > best.layer][:1],
    ):
        for other in others:
            middle = (
                (best.layer + other) // 2 if other < best.layer else (best.layer + other + 1) // 2
            )
            if middle not in (best.layer, other):
                yield Point(middle, best.strength)
