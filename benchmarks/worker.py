"""A contender's process: calls come in as JSON lines, times go out, tensors lie in files.

Started as `python -m benchmarks.worker NAME FOLDER PACKAGE` in the contender's environment.
A contender that fails ends its process; the last line that it wrote says why.
"""

import gc
import importlib
import json
import os
import sys
import time
from importlib.metadata import version
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks import memory
from benchmarks.tasks import unpacked

THREADS = 2


def main(name: str, folder: str, package: str) -> None:
    """Answer each line of standard input with one line of standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What a library prints must not mix with the answers.
    torch.set_num_threads(THREADS)
    contender = importlib.import_module(f"benchmarks.contenders.{name}").Contender(folder)

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    say({name: version(name) for name in ("torch", "transformers", package)})
    for line in sys.stdin:
        say(perform(contender, json.loads(line)))


def perform(contender: Any, request: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    """Call a contender.

    A request with a task is measured: `seconds` and `peak` (bytes above what was resident before,
    None where the system does not count them) are of that call alone. Tensors are saved where the
    request says, anything else is in the answer as `result`.
    """
    asked = request["arguments"]
    if "task" in asked:
        asked["task"] = unpacked(asked["task"])
    gc.collect()
    before = memory.reset_peak()
    start = time.perf_counter()
    result = getattr(contender, request["call"])(**asked)
    seconds = time.perf_counter() - start
    highest = memory.peak()
    answer: dict[str, Any] = {
        "seconds": seconds,
        "peak": None if before is None or highest is None else highest - before,
    }
    if isinstance(result, torch.Tensor):
        result = {"result": result}
    if isinstance(result, dict) and all(isinstance(v, torch.Tensor) for v in result.values()):
        save_file({name: tensor.contiguous() for name, tensor in result.items()}, request["save"])
    else:
        answer["result"] = result
    return answer


if __name__ == "__main__":
    main(*sys.argv[1:])
