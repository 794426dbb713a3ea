"""The works that contenders are compared at, at full size and at one for trying out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoTokenizer

from benchmarks import limits, random_model
from benchmarks.checks import (
    Reference,
    Verdict,
    optimal,
    same_activations,
    same_answers,
    same_losses,
)
from benchmarks.contest import Work
from benchmarks.endings import spread_ends
from benchmarks.limits import Dimensions
from benchmarks.processes import Process
from benchmarks.random_model import Shape
from benchmarks.tasks import Forwarding, Probing, Reading, Steering, cut, packed

STRENGTHS = (0.25, 0.5, 0.75, 1.0)
"""Coefficients over the mean residual norm of the steered layer."""
PENALTIES = [10 ** (-3 + 7 * step / 9) for step in range(10)]
NAMES = ("read", "grid", "mixed", "pocket", "probe", "growth")


@dataclass(frozen=True)
class Sizes:
    """How large the works are."""

    shape: Shape
    sequences: int
    prompt: int
    response: int
    prompts: int
    new_tokens: int
    longest: int
    """Most new tokens where answers end by themselves."""
    mean: float
    """Their mean length."""
    pocket_tokens: int
    probes: tuple[tuple[int, int, int], ...]
    """n, layers and width."""
    settings: tuple[int, ...]
    lengths: tuple[int, ...]
    responses: tuple[int, ...]
    rows_of_probe: tuple[int, ...]


FULL = Sizes(
    shape=random_model.FULL,
    sequences=256,
    prompt=48,
    response=16,
    prompts=16,
    new_tokens=32,
    longest=64,
    mean=28.0,
    pocket_tokens=40,
    probes=((512, 8, 512), (512, 32, 4096)),
    settings=(8, 16, 32, 64, 128, 256, 512),
    lengths=(32, 64, 128, 256, 512, 1024),
    responses=(100, 300, 1000, 3000, 10_000),
    rows_of_probe=(125, 250, 500, 1000, 2000),
)
QUICK = Sizes(
    shape=random_model.QUICK,
    sequences=64,
    prompt=24,
    response=8,
    prompts=4,
    new_tokens=8,
    longest=16,
    mean=9.0,
    pocket_tokens=8,
    probes=((128, 2, 64), (64, 4, 256)),
    settings=(2, 4, 8),
    lengths=(16, 32, 64),
    responses=(32, 64, 128),
    rows_of_probe=(64, 128, 256),
)


def reading_works(sizes: Sizes, plain: Process, shape: Dimensions) -> list[Work]:
    """Pooled activations of all layers, of five eighths of them and of half."""
    length = sizes.prompt + sizes.response
    ids = random_model.token_ids(sizes.shape, [length] * sizes.sequences, seed=1)
    whole = Reading(ids, sizes.prompt, shape.layers, rows=1)
    expected = plain.do(whole)["result"]
    most = shape.layers
    works = []
    for name, layers in (("all", most), ("five", -(-most * 5 // 8)), ("half", most // 2)):
        task = replace(whole, layers=layers)
        works.append(
            Work(
                name=f"read_{name}",
                title=f"Pooled activations of {layers} of {most} layers",
                about=f"{sizes.sequences} sequences of {length} tokens, mean over the last "
                f"{sizes.response}.",
                task=task,
                check=partial(_activations, expected),
                operations=limits.reading(shape, task),
            )
        )
    return works


def steering_works(sizes: Sizes, plain: Process, shape: Dimensions) -> list[Work]:
    """The grid of layers and coefficients, with answers of one length and of many."""
    # Lengths about 16, in an order that puts unequal ones side by side.
    lengths = [12 + 5 * place % 9 for place in range(sizes.prompts)]
    prompts = random_model.token_ids(sizes.shape, lengths, seed=2)
    task = _grid(plain, prompts, shape, sizes.longest, [])
    reference = Reference(**plain.call("reference", task=packed(task))["result"])
    ends = spread_ends(reference.answers, shortest=4, mean=sizes.mean)
    count = len(reference.answers)
    fixed = replace(task, new_tokens=sizes.new_tokens)
    mixed = replace(task, ends=ends)
    fed = [cut(answer, ends, sizes.longest) for answer in reference.answers]
    spread = sorted(map(len, fed))
    many = f"{shape.layers} layers x {len(STRENGTHS)} coefficients x {len(prompts)} prompts"
    tokens = count * sizes.new_tokens
    return [
        _steered(
            "grid",
            "Steered greedy generation",
            f"{many} x {sizes.new_tokens} tokens; the last row runs the bare model over "
            f"{tokens:,} tokens, as many as are generated; it has no prompts to run.",
            fixed,
            reference,
            shape,
            beside=Forwarding(tokens // 32, 32, rows=1),
        ),
        _steered(
            "mixed",
            "Steered generation with answers of many lengths",
            f"{many}; answers end after {spread[0]} to {spread[-1]} tokens, {len(ends)} token ids "
            f"end one, mean {sum(spread) / count:.1f}, quartiles {spread[count // 4]}, "
            f"{spread[count // 2]}, {spread[3 * count // 4]}.",
            mixed,
            reference,
            shape,
        ),
    ]


def pocket_work(sizes: Sizes, root: Path, plain: Process, shape: Dimensions) -> Work:
    """The grid on the embedded pair, where overhead rules."""
    words = AutoTokenizer.from_pretrained(root / "models/pocket/instruct")
    lines = (root / "data/pocket/calibration.txt").read_text(encoding="utf-8").splitlines()
    prompts = [
        words(
            words.apply_chat_template(
                [{"role": "user", "content": line}], tokenize=False, add_generation_prompt=True
            ),
            add_special_tokens=False,
        )["input_ids"]
        for line in lines[: sizes.prompts]
    ]
    task = _grid(plain, prompts, shape, sizes.pocket_tokens, [])
    reference = Reference(**plain.call("reference", task=packed(task))["result"])
    task = replace(task, ends=[words.eos_token_id])
    return _steered(
        "pocket",
        "Steered greedy generation on the pocket pair",
        f"{shape.layers} layers x {len(STRENGTHS)} coefficients x {len(prompts)} questions x up to "
        f"{sizes.pocket_tokens} tokens, models/pocket/instruct in float32.",
        task,
        reference,
        shape,
    )


def probe_works(sizes: Sizes) -> list[Work]:
    """Penalty path and folds of all layers."""
    works = []
    for n, layers, width in sizes.probes:
        task = Probing(
            n=n,
            layers=layers,
            width=width,
            folds=5,
            penalties=PENALTIES,
            seed=3,
            fitted_layers=list(range(layers)),
            fitted_penalties=list(range(len(PENALTIES))),
        )
        works.append(
            Work(
                name=f"probe_{width}",
                title=f"Logistic probe of {layers} layers x {width}",
                about=f"n = {n}, {task.folds} folds x {len(PENALTIES)} penalties and a fit on all "
                "rows, each within 1e-6 of its optimum.",
                task=task,
                check=_Fits(task),
            )
        )
    return works


def _grid(
    plain: Process, prompts: list[list[int]], shape: Dimensions, tokens: int, ends: list[int]
) -> Steering:
    norms = plain.call("norms", prompts=prompts)["result"]
    settings = [(at, strength * norms[at]) for at in range(shape.layers) for strength in STRENGTHS]
    vectors = random_model.unit_vectors(shape.layers, shape.width, seed=4)
    return Steering(prompts, vectors, settings, tokens, ends, rows=len(settings) * len(prompts))


def _steered(
    name: str,
    title: str,
    about: str,
    task: Steering,
    reference: Reference,
    shape: Dimensions,
    beside: Forwarding | None = None,
) -> Work:
    answers = [cut(whole, task.ends, task.new_tokens) for whole in reference.answers]
    return Work(
        name=name,
        title=title,
        about=about,
        task=task,
        check=lambda found: same_answers(found, task, reference),
        operations=limits.steering(shape, task, answers),
        bytes=limits.steering_bytes(shape, task, answers),
        beside=beside,
        beside_operations=limits.forwarding(shape, beside) if beside else 0,
    )


def _activations(expected: Tensor, found: Tensor) -> Verdict:
    return same_activations(found, expected)


class _Fits:
    """Checks final fits against their optimum, and held-out losses against the first seen."""

    def __init__(self, task: Probing) -> None:
        self.task = task
        self.losses: Tensor | None = None

    def __call__(self, found: dict[str, Any]) -> Verdict:
        fitted = found["penalties"] > 0
        layers = [layer for layer in self.task.fitted_layers if fitted[layer]]
        best = optimal(found, replace(self.task, fitted_layers=layers))
        if self.losses is None:
            self.losses = found["held_out_log_loss"]
            return best
        same = same_losses(found["held_out_log_loss"], self.losses)
        return Verdict(best.right and same.right, f"{best.found}, {same.found}")


Check = Callable[[Any], Verdict]
