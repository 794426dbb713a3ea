"""`python -m benchmarks gpu`: ours in the real Llama-3.1-8B shape, in one go, on one CUDA device.

Random weights in bfloat16, made on the device: time depends on the shape, not on what the weights
know. `--rehearse` runs the same code at a tiny shape on the CPU, and shows only that it runs.
"""

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM, LlamaConfig

from benchmarks import limits, random_model
from benchmarks.contenders import ours, plain
from benchmarks.gpu_page import Decoding, Found, Kernel, page
from benchmarks.limits import Dimensions, least_seconds
from benchmarks.tasks import Answers, Reading, Steering
from traitsteer.world.files import write_text

ROOT = Path(__file__).parent.parent
MANY_ROWS = (256, 1024, 4096, 8192, 16_384)
GIGABYTE = 1024


def llama_8b() -> LlamaConfig:
    """The shape of Llama-3.1-8B."""
    return LlamaConfig(
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128_256,
        max_position_embeddings=131_072,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    )


def tiny() -> LlamaConfig:
    """The same, small enough to rehearse on a CPU."""
    return LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=512,
    )


class Trial:
    """The model on its device, and the sizes that it is measured at."""

    def __init__(self, rehearse: bool) -> None:
        self.device = "cpu" if rehearse else "cuda"
        config = tiny() if rehearse else llama_8b()
        torch.manual_seed(0)
        with torch.device(self.device):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        self.model = model.eval().requires_grad_(False)
        self.model.generation_config.eos_token_id = None
        self.shape = Dimensions.of(config)
        self.ours = ours.Contender.around(self.model, random_model.tokenizer(512))
        self.plain = plain.Contender.around(self.model)
        self.read_rows = (4, 8) if rehearse else (8, 16, 32, 64, 128)
        self.sequences, self.tokens = (16, 32) if rehearse else (256, 256)
        self.decode_rows = (4, 8) if rehearse else (16, 64, 128, 256, 512)
        self.new_tokens = 8 if rehearse else 64
        self.prompts = 4 if rehearse else 16
        self.steered_layers = 2 if rehearse else 8

    def reading(self, rows: int) -> Reading:
        """Activations of all layers, mean over the second half of each sequence."""
        ids = self._ids([self.tokens] * self.sequences)
        return Reading(ids, self.tokens // 2, self.shape.layers, rows)

    def steering(self, prompts: int, settings: int, new_tokens: int) -> Steering:
        """As many settings, spread over the layers, of prompts of about 32 tokens."""
        spread = [at * self.shape.layers // settings for at in range(settings)]
        ids = self._ids([28 + at % 9 for at in range(prompts)])
        vectors = random_model.unit_vectors(self.shape.layers, self.shape.width, seed=4)
        return Steering(
            ids, vectors, [(at, 1.0) for at in spread], new_tokens, [], prompts * settings
        )

    def seconds(self, task: Steering, repeats: int = 2) -> float:
        """Least time of ours."""
        return least_seconds(lambda: self.ours.steer(task), self.device, repeats)

    def _ids(self, lengths: list[int]) -> list[list[int]]:
        shape = random_model.Shape(0, 0, 0, 0, min(self.shape.vocabulary, 512))
        return random_model.token_ids(shape, lengths, seed=1)


def measured(trial: Trial) -> Found:
    """Everything that the page shows."""
    device, shape = trial.device, trial.shape
    rehearsing = device == "cpu"
    flops = limits.throughput(shape, device, torch.bfloat16, (16, 64) if rehearsing else MANY_ROWS)
    moved = limits.bandwidth(device, 8 if rehearsing else 2 * GIGABYTE)
    _say(f"{flops / 1e12:.3g} TFLOP/s in bfloat16 matrices, {moved / 1e9:.4g} GB/s of memory")

    took = {}
    for rows in trial.read_rows:
        run = partial(trial.ours.read, trial.reading(rows))
        took[rows] = least_seconds(run, device, repeats=2)
        _say(f"reading, {rows} sequences at once: {took[rows]:.3f} s")
    best = min(took, key=lambda rows: took[rows])
    share = limits.reading(shape, trial.reading(best)) / flops / took[best]

    decoding = [_decoding(trial, rows, moved) for rows in trial.decode_rows]
    grid = trial.steering(trial.prompts, 4 * trial.steered_layers, trial.new_tokens)
    together = trial.seconds(grid, repeats=1)
    found = trial.ours.steer(grid)
    alone = _once(lambda: trial.plain.steer(grid), device)
    _say(f"grid of {len(grid.settings)} settings: ours {together:.2f} s, hooks {alone[0]:.2f} s")
    return Found(
        device=torch.cuda.get_device_name() if device == "cuda" else "rehearsal on the CPU",
        torch=torch.__version__,
        transformers=transformers.__version__,
        flops=flops,
        bytes=moved,
        read_rows=best,
        read_seconds=took[best],
        read_share=share,
        decoding=decoding,
        grid_rows=len(grid.settings) * len(grid.prompts),
        grid_seconds=together,
        hook_seconds=alone[0],
        common=_common(found, alone[1]),
        pass_tokens=ours.passes(trial.device),
    )


def _decoding(trial: Trial, rows: int, moved: float) -> Decoding:
    """Decoding alone is the time of all tokens less that of the first."""
    # Twice as many tokens after the captured steps as with them.
    once, thrice = (trial.steering(rows // 4, 4, n * trial.new_tokens) for n in (1, 3))
    if trial.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    whole = trial.seconds(once)
    peak = torch.cuda.max_memory_allocated() if trial.device == "cuda" else None
    first = trial.seconds(trial.steering(rows // 4, 4, 1))
    longer = trial.seconds(thrice, repeats=1)
    needed, later = (
        limits.steering_bytes(trial.shape, task, [[0] * task.new_tokens] * rows, size=2) / moved
        for task in (once, thrice)
    )
    share = needed / max(whole - first, 1e-9)
    steady = (later - needed) / max(longer - whole, 1e-9)
    _say(
        f"decoding, {rows} rows: {rows / whole:.1f} answers/s, {share:.0%} of the bandwidth limit, "
        f"{steady:.0%} later"
    )
    return Decoding(rows, whole, first, share, steady, rows / whole, peak)


def _once(run: Any, device: str) -> tuple[float, Answers]:  # noqa: ANN401 - a call without arguments
    kept: list[Answers] = []
    seconds = least_seconds(lambda: kept.append(run()), device, repeats=1, warm=False)
    return seconds, kept[0]


def _common(found: Answers, expected: Answers) -> float:
    """Share of tokens before the first that differs; rounding in bfloat16 parts answers."""
    same = total = 0
    for ours_ids, plain_ids in zip(found, expected, strict=True):
        pairs = list(zip(ours_ids, plain_ids, strict=False))
        same += next((at for at, (a, b) in enumerate(pairs) if a != b), len(pairs))
        total += len(plain_ids)
    return same / total


def _profiled(run: Callable[[], object], device: str) -> list[Kernel]:
    """The kernels of a call that has run before; on a CPU its operations."""
    activities = [ProfilerActivity.CPU if device == "cpu" else ProfilerActivity.CUDA]
    with profile(activities=activities, acc_events=True) as profiler:
        run()
    found = []
    for event in profiler.key_averages():
        spent = event.self_cpu_time_total if device == "cpu" else event.self_device_time_total
        if spent > 0:
            found.append(Kernel(event.key, event.count, spent / 1e6))
    return found


def main(arguments: list[str]) -> None:
    """Measure, print, and on a GPU write docs/benchmarks_gpu.md and benchmarks/gpu.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("--rehearse", action="store_true", help="tiny shape, on the CPU")
    parser.add_argument("--before", type=Path, help="an earlier gpu.json to show beside")
    asked = parser.parse_args(arguments)
    if not asked.rehearse and not torch.cuda.is_available():
        sys.exit(
            "No CUDA device was found; run this on a machine with one, or pass --rehearse to see "
            "it run at a tiny shape on the CPU."
        )
    before = None if asked.before is None else Found.unpacked(json.loads(asked.before.read_text()))
    trial = Trial(asked.rehearse)
    found = measured(trial)
    # A profiler that fails takes nothing along.
    _show(found, before, not asked.rehearse)
    read = partial(trial.ours.read, trial.reading(found.read_rows))
    few = trial.steering(trial.decode_rows[-2] // 4, 4, min(16, trial.new_tokens))
    found.profiles["reading"] = _profiled(read, trial.device)
    found.profiles[f"decoding, {trial.decode_rows[-2]} rows of {few.new_tokens} tokens"] = (
        _profiled(partial(trial.ours.steer, few), trial.device)
    )
    _show(found, before, not asked.rehearse)


def _show(found: Found, before: Found | None, written: bool) -> None:
    text = page(found, before)
    _say(text)
    if written:
        write_text(ROOT / "docs/benchmarks_gpu.md", text)
        write_text(ROOT / "benchmarks/gpu.json", json.dumps(found.packed(), indent=1) + "\n")


def _say(line: str) -> None:
    print(line, flush=True)
