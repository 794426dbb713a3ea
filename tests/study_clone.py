"""A clone of the repository in which DVC runs stages, as a newcomer has it."""

import os
import subprocess
import sys
from pathlib import Path


def environment() -> dict[str, str]:
    # A newcomer's Python keeps the bytecode of each stage for the next.
    foreign = ("DVC_", "PYTEST_", "OMP_", "PYTHONDONTWRITEBYTECODE")
    variables = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Other tests run beside, and threads that wait for each other would take their time.
    return variables | {"PATH": path, "OMP_NUM_THREADS": "1"}


def dvc(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["dvc", *arguments], cwd=folder, env=environment(), capture_output=True, text=True
    )
    assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def cloned(repository: Path, folder: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(repository), str(folder)], check=True)
    return folder


def files(folder: Path, *parts: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in parts
        for path in sorted((folder / part).rglob("*"))
        if path.is_file()
    }
