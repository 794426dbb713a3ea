"""What no implementation can beat: the arithmetic and the bytes of the forward passes.

A multiplication and an addition count as two operations; of attention, the pairs of a query and a
key that it may see are counted. Norms, activations and sampling are left out, hence the limit is a
little below what can be reached.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from benchmarks.tasks import Answers, Forwarding, Reading, Steering
from traitsteer.world.model.inference import inference

_ROWS = (64, 128, 256, 512, 1024, 2048)
_FLOAT = 4


@dataclass(frozen=True)
class Dimensions:
    """The shape of a Llama."""

    layers: int
    width: int
    queries: int
    """Heads times their size."""
    keys: int
    """Key heads times their size."""
    inner: int
    vocabulary: int

    @staticmethod
    def of(config: Any) -> "Dimensions":  # noqa: ANN401 - a configuration of transformers
        """The dimensions that a configuration of transformers says."""
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return Dimensions(
            layers=config.num_hidden_layers,
            width=config.hidden_size,
            queries=config.num_attention_heads * size,
            keys=config.num_key_value_heads * size,
            inner=config.intermediate_size,
            vocabulary=config.vocab_size,
        )

    @property
    def block_weights(self) -> int:
        """Numbers in the matrices of one block."""
        return self.width * (2 * self.queries + 2 * self.keys + 3 * self.inner)

    def block(self, tokens: int, pairs: int) -> int:
        """Operations of one block over tokens, and over pairs of a query and a key it sees."""
        return 2 * tokens * self.block_weights + 4 * pairs * self.queries

    def head(self, tokens: int) -> int:
        """Operations of the logits of tokens."""
        return 2 * tokens * self.width * self.vocabulary


@dataclass(frozen=True)
class Machine:
    """What this machine was measured to do in the same run."""

    flops: float
    """Operations a second of the model's matrices at the best batch size."""
    bytes: float
    """Bytes a second from memory."""


def causal_pairs(length: int, before: int = 0) -> int:
    """Pairs of a query and a key that `length` tokens see after `before` others."""
    return length * before + length * (length + 1) // 2


def reading(shape: Dimensions, task: Reading) -> int:
    """Operations of a reading: the blocks up to the last that is asked for."""
    return sum(task.layers * shape.block(len(ids), causal_pairs(len(ids))) for ids in task.ids)


def forwarding(shape: Dimensions, task: Forwarding) -> int:
    """Operations of bare passes: all blocks, and the logits of every token."""
    each = shape.block(task.tokens, causal_pairs(task.tokens))
    return task.sequences * (shape.layers * each + shape.head(task.tokens))


def steering(shape: Dimensions, task: Steering, answers: Answers) -> int:
    """Fewest operations of a generation.

    Up to the block that they are steered at, answers are computed once while they say the same;
    above it, each for itself. The last token of an answer is chosen and not fed back.
    """
    total = 0
    for block in range(shape.layers):
        met = set()
        for (setting, prompt, fed), answer in zip(_rows(task, answers), answers, strict=True):
            own = setting if setting[0] < block else None
            for told in range(fed + 1):
                run = (own, tuple(prompt), tuple(answer[:told]))
                if run not in met:
                    met.add(run)
                    new, before = (1, len(prompt) + told - 1) if told else (len(prompt), 0)
                    total += shape.block(new, causal_pairs(new, before))
    return total + sum(shape.head(fed + 1) for _, _, fed in _rows(task, answers))


def steering_bytes(shape: Dimensions, task: Steering, answers: Answers, size: int = _FLOAT) -> int:
    """Fewest bytes of the decoding steps if all rows share one batch: the weights once a step, and
    of each row the keys and values of what it has seen."""
    steps = max(fed for _, _, fed in _rows(task, answers))
    weights = shape.layers * shape.block_weights + shape.width * shape.vocabulary
    seen = sum(causal_pairs(fed, before=len(prompt)) for _, prompt, fed in _rows(task, answers))
    return size * (steps * weights + seen * shape.layers * 2 * shape.keys)


def _rows(task: Steering, answers: Answers) -> list[tuple[tuple[int, float], list[int], int]]:
    """Setting, prompt and how many new tokens are fed back, of each row."""
    rows = [(setting, prompt) for setting in task.settings for prompt in task.prompts]
    return [
        # The token that ended an answer was chosen, and not fed back.
        (setting, prompt, min(len(answer), task.new_tokens - 1))
        for (setting, prompt), answer in zip(rows, answers, strict=True)
    ]


def throughput(
    shape: Dimensions,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    many: tuple[int, ...] = _ROWS,
) -> float:
    """Operations a second of the matrices of one block, at the best number of rows and kernel."""
    shapes = [(shape.width, shape.queries + 2 * shape.keys), (shape.queries, shape.width)]
    shapes += [(shape.width, shape.inner)] * 2 + [(shape.inner, shape.width)]
    block = nn.ModuleList(
        nn.Linear(inner, outer, bias=False, device=device, dtype=dtype) for inner, outer in shapes
    )
    kernels: list[AbstractContextManager[object]] = [torch.inference_mode()]
    if device == "cpu":
        kernels.append(inference(block))
    best = 0.0
    for kernel in kernels:
        with kernel:
            for rows in many:
                inputs = [
                    torch.randn(rows, inner, device=device, dtype=dtype) for inner, _ in shapes
                ]

                def run(inputs: list[torch.Tensor] = inputs) -> None:
                    for given, layer in zip(inputs, block, strict=True):
                        layer(given)

                operations = 2 * rows * shape.block_weights
                best = max(best, operations / least_seconds(run, device))
    return best


def bandwidth(device: str = "cpu", megabytes: int = 256) -> float:
    """Bytes a second of reading and writing memory: the best of copying and of summing."""
    source = torch.ones(megabytes * 2**20 // _FLOAT, device=device)
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / least_seconds(lambda: torch.add(source, 1.0, out=target), device)
    read = source.nbytes / least_seconds(lambda: source.sum(), device)
    return max(copied, read)


def least_seconds(
    run: Callable[[], object], device: str = "cpu", repeats: int = 5, warm: bool = True
) -> float:
    """Least time of a call over some repetitions, by default after one to warm up."""
    wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else _no_wait
    if warm:
        run()
    least = float("inf")
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        run()
        wait()
        least = min(least, time.perf_counter() - start)
    return least


def _no_wait() -> None:
    """The CPU has finished when a call returns."""
