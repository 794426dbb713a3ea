"""How our cost and memory grow: each size in a fresh process, the exponent by least squares."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import random_model
from benchmarks.entrants import OURS
from benchmarks.processes import processes
from benchmarks.results import Series
from benchmarks.tasks import Probing, Reading, Steering, Task
from benchmarks.works import PENALTIES, Sizes

_PROMPTS = 4
_READ_AT_ONCE = 32
_STEERED_AT_ONCE = 128
_SHORT = 16
"""Tokens of a sequence where their number grows."""
_SEQUENCES = 32
"""Sequences where their length grows."""
_FLOAT = 4


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Slope of log cost over log size by least squares: 1 is linear growth, 0 none."""
    logs = [(math.log(size), math.log(cost)) for size, cost in zip(sizes, costs, strict=True)]
    x_mean = sum(x for x, _ in logs) / len(logs)
    y_mean = sum(y for _, y in logs) / len(logs)
    spread = sum((x - x_mean) ** 2 for x, _ in logs)
    return sum((x - x_mean) * (y - y_mean) for x, y in logs) / spread


def growth(
    sizes: Sizes, model: Path, scratch: Path, patience: float, say: Callable[[str], None]
) -> list[Series]:
    """Settings, sequence length, responses and rows of the probe, one series each."""
    shape = sizes.shape
    wanted: list[tuple[str, str, Sequence[int], Callable[[int], Task]]] = [
        (
            "settings",
            f"Settings generated, {_PROMPTS} prompts x {sizes.new_tokens} tokens each, "
            f"{_STEERED_AT_ONCE} rows at once",
            sizes.settings,
            lambda count: _settings(sizes, count),
        ),
        (
            "length",
            f"Tokens of a sequence, {_SEQUENCES} sequences read",
            sizes.lengths,
            lambda length: _reading(sizes, _SEQUENCES, length, rows=4),
        ),
        (
            "responses",
            f"Sequences of {_SHORT} tokens read, {_READ_AT_ONCE} at once",
            sizes.responses,
            lambda count: _reading(sizes, count, _SHORT, rows=_READ_AT_ONCE),
        ),
        (
            "probe",
            f"Rows of the probe, {shape.layers} layers x {shape.width}",
            sizes.rows_of_probe,
            lambda n: _probing(sizes, n),
        ),
    ]
    return [
        _series(name, title, steps, make, model, scratch, patience, say)
        for name, title, steps, make in wanted
    ]


def _series(
    name: str,
    title: str,
    steps: Sequence[int],
    make: Callable[[int], Task],
    model: Path,
    scratch: Path,
    patience: float,
    say: Callable[[str], None],
) -> Series:
    seconds: list[float] = []
    peaks: list[int | None] = []
    for size in steps:
        with processes([OURS], model, scratch, patience) as started:
            ours = started[OURS.name]
            ours.do(make(steps[0]))  # What is set up once is no growth.
            answer = ours.do(make(size))
        seconds.append(answer["seconds"])
        peak = answer["peak"]
        peaks.append(None if peak is None else max(0, peak - _bytes(answer["result"])))
        say(f"growth of {name}: {size}: {seconds[-1]:.3f} s")
    return Series(name, title, list(steps), seconds, peaks, exponent(steps, seconds))


def _bytes(result: Any) -> int:  # noqa: ANN401 - whatever a contender answers
    """Of the result itself, which grows with what was asked for."""
    return _FLOAT * result.numel() if hasattr(result, "numel") else 0


def _settings(sizes: Sizes, count: int) -> Steering:
    shape = sizes.shape
    prompts = random_model.token_ids(shape, [_SHORT] * _PROMPTS, seed=5)
    vectors = random_model.unit_vectors(shape.layers, shape.width, seed=4)
    settings = [(at % shape.layers, 1.0 + at / count) for at in range(count)]
    return Steering(prompts, vectors, settings, sizes.new_tokens, [], rows=_STEERED_AT_ONCE)


def _reading(sizes: Sizes, count: int, length: int, rows: int) -> Reading:
    ids = random_model.token_ids(sizes.shape, [length] * count, seed=6)
    return Reading(ids, length // 2, sizes.shape.layers, rows)


def _probing(sizes: Sizes, n: int) -> Probing:
    layers = list(range(sizes.shape.layers))
    places = list(range(len(PENALTIES)))
    return Probing(n, len(layers), sizes.shape.width, 5, PENALTIES, 7, layers, places)
