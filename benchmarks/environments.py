"""The environments that the peers run in, made by the command from the pins beside this file."""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PINS = HERE / "peers"


def python_of(environment: str) -> Path:
    """The interpreter of an environment."""
    return HERE / ".venv" / environment / "bin" / "python"


def names() -> list[str]:
    """Environments that have a file of pins."""
    return sorted(pins.stem for pins in PINS.glob("*.txt"))


def make(environment: str) -> dict[str, str]:
    """Make an environment unless it is there with these pins; package to reason for each failure.

    Packages are installed in the order of the pins, one by one, so that one that cannot be
    installed does not take the others with it.
    """
    pins = (PINS / f"{environment}.txt").read_text(encoding="utf-8")
    folder = python_of(environment).parent.parent
    record = folder / "made.json"
    if record.exists():
        made = json.loads(record.read_text(encoding="utf-8"))
        if made["pins"] == pins:
            return dict(made["failed"])
    print(f"making benchmarks/.venv/{environment}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    failed = {}
    for line in pins.splitlines():
        if not line or line.startswith("#"):
            continue
        reason = _install(environment, line)
        if reason is not None:
            failed[line.partition("==")[0]] = reason
    record.write_text(json.dumps({"pins": pins, "failed": failed}), encoding="utf-8")
    return failed


def _install(environment: str, requirement: str) -> str | None:
    command = [str(python_of(environment)), "-m", "pip", "install", "--quiet"]
    command += ["--disable-pip-version-check", "-c", str(PINS / f"{environment}.txt"), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    said = errors[0].removeprefix("ERROR: ") if errors else f"pip ended with {done.returncode}"
    return f"It cannot be installed: {said}"
