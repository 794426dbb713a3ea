"""The hashes that DVC knows files by: those that dvc.lock names, and that of a path at hand."""

import hashlib
import json
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
    """The hash that DVC knows a file or a folder by."""
    if path.is_dir():
        files = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
        listed = [{"md5": md5(path / name), "relpath": name} for name in sorted(files)]
        return hashlib.md5(json.dumps(listed, sort_keys=True).encode()).hexdigest() + ".dir"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
