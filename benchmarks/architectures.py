"""python -m benchmarks.architectures [kind ...]

Every causal decoder that the installed `transformers` names, as a tiny random model: which way the
engine runs it, and whether steered text, activations and likelihoods are those of plain passes.
Without names what was found becomes docs/architectures.md.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from traitsteer.world.files import write_text
from traitsteer.world.progress import say

PAGE = Path(__file__).parent.parent / "docs/architectures.md"
PATIENCE = 900
"""Seconds for one model."""
NOTES = (
    "These texts are shorter than any window of attention. Beyond its window (3000 tokens) Moshi",
    "is equal to one of two: `transformers` forgets what lies before the window when it generates",
    "with its cache, and sees all of it in a pass over the whole text. The engine generates",
    "as it does with the cache, and reads activations and likelihoods as it does in a pass.",
)
"""What the trials cannot show."""


def main(names: Sequence[str]) -> None:
    """Try all, or those of these names; print each as it is done."""
    kinds = list(names) or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(max(1, (os.cpu_count() or 1))) as pool,
    ):
        found = list(pool.map(lambda kind: _one(kind, Path(folder) / kind), kinds))
    if not names:
        write_text(PAGE, page(found))
        say(f"wrote {PAGE}")


def _one(kind: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.architecture", kind, str(folder)]
    quiet = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, env=quiet, check=False
        )
        last = (run.stdout.strip() or "{}").splitlines()[-1]
        found: dict[str, Any] = json.loads(last)
        if run.returncode != 0:
            found = {"failed": (run.stderr.strip() or "no word").splitlines()[-1]}
    except subprocess.TimeoutExpired:
        found = {"not_built": f"not done after {PATIENCE} s"}
    found = {"kind": kind} | found
    say(json.dumps(found))
    return found


def page(found: Sequence[dict[str, Any]]) -> str:
    """What docs show."""
    right = [f for f in found if _right(f)]
    usual = [f["kind"] for f in right if f["way"] == "shared"]
    own = [f["kind"] for f in right if f["way"] == "own cache"]
    wrong = [f for f in found if "way" in f and f not in right]
    refused = [f for f in found if "refused" in f]
    failed = [f for f in found if "failed" in f]
    skipped = [f for f in found if "not_built" in f]
    versions = f"python {platform.python_version()}, torch {torch.__version__}, "
    versions += f"transformers {transformers.__version__}"
    lines = [
        "# Architectures",
        "",
        "Written by `python -m benchmarks.architectures`: every causal decoder that `transformers`",
        "names, as a random model of three layers of 32 in float32 on a CPU. *Right* is one whose",
        "steered greedy text is, token for token, that of passes over the whole text with a plain",
        "hook that adds the vector, in two batch sizes, and whose pooled activations and steered",
        "log-likelihoods are those of plain passes. Random weights of a tiny shape show which way",
        "an architecture runs, and not that each real model of it does: that is tried when a stage",
        "opens the model.",
        "",
        *NOTES,
        "",
        f"{versions}.",
        "",
        "| | architectures |",
        "|---|--:|",
        f"| right, the usual way: prompts shared between rows | {len(usual)} |",
        f"| right, with the cache that `transformers` makes | {len(own)} |",
        f"| wrong | {len(wrong)} |",
        f"| refused in one sentence before any work | {len(refused)} |",
        f"| ended without a sentence | {len(failed)} |",
        f"| not tried: no tiny model was made | {len(skipped)} |",
        "",
        "## Right, the usual way",
        "",
        ", ".join(usual),
        "",
        "## Right, with the cache that `transformers` makes",
        "",
        ", ".join(own),
        "",
    ]
    lines += _table("Wrong", "what was found", [(f["kind"], json.dumps(f)) for f in wrong])
    lines += _table("Refused", "sentence", [(f["kind"], f["refused"]) for f in refused])
    lines += _table(
        "Ended without a sentence", "last line", [(f["kind"], f["failed"]) for f in failed]
    )
    lines += _table("Not tried", "reason", [(f["kind"], f["not_built"]) for f in skipped])
    return "\n".join(lines)


def _right(found: dict[str, Any]) -> bool:
    """Whether nothing that was held against plain passes differed."""
    ran = "way" in found
    return ran and found["answers"] == found["of"] and found["read"] and found["likelihood"] is True


def _table(title: str, column: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    if not rows:
        return []
    cells = [f"| {kind} | {said.replace('|', '/')} |" for kind, said in rows]
    return [f"## {title}", "", f"| architecture | {column} |", "|---|---|", *cells, ""]


if __name__ == "__main__":
    main(sys.argv[1:])
