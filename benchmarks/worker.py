"""A contender's process: tasks come in as JSON lines, times go out, results lie in files.

Started as `python -m benchmarks.worker NAME FOLDER` in the environment that the contender needs.
A contender that fails ends its process; the last line that it wrote says why.
"""

import importlib
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.tasks import Probing, Steering, unpacked

THREADS = 2


def main(name: str, folder: str) -> None:
    """Answer each line of standard input with one line of standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What a library prints must not mix with the answers.
    torch.set_num_threads(THREADS)
    contender = importlib.import_module(f"benchmarks.contenders.{name}").Contender(folder)

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    say({"torch": version("torch"), "transformers": version("transformers")})
    for line in sys.stdin:
        request = json.loads(line)
        say(perform(contender, request))


def perform(contender: Any, request: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    """Do a task and write its result; the time is that of the contender alone."""
    if request["call"] == "task":
        task = unpacked(request["task"])
        start = time.perf_counter()
        result = getattr(contender, request["task"]["kind"])(task)
        seconds = time.perf_counter() - start
        save = Path(request["save"])
        if isinstance(task, Steering):
            save.write_text(json.dumps(result), encoding="utf-8")
        elif isinstance(task, Probing):
            save_file(result, save)
        else:
            save_file({"pooled": result.contiguous()}, save)
        return {"seconds": seconds}
    if request["call"] == "reference":
        result = contender.reference(unpacked(request["task"]))
        Path(request["save"]).write_text(json.dumps(result), encoding="utf-8")
        return {}
    return {"norms": contender.norms(request["prompts"])}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
