"""The hashes that DVC knows files by: those that dvc.lock names, and that of a file at hand."""

import hashlib
from pathlib import Path

from ruamel.yaml import YAML


def dvc_hashes(lock: Path) -> dict[str, str]:
    """Hash of every output that dvc.lock names, by path; empty before the first `dvc repro`."""
    if not lock.exists():
        return {}
    stages = YAML(typ="safe", pure=True).load(lock).get("stages", {})
    return {
        out["path"]: out["md5"]
        for stage in stages.values()
        for out in stage.get("outs", [])
        if "md5" in out
    }


def md5(path: Path) -> str:
    """The hash that DVC knows a file by."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
