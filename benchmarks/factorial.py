"""python -m benchmarks.factorial [folder]

Run the factorial study of the pocket pair in a fresh clone of the last commit, and write what it
found into docs/factorial.md and the figures beside it. The study of this folder and its params.yaml
stay as they are. With a folder, tell what was found there and run nothing: reports/factorial.json
is enough, such as that of this folder (.).
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.search.table import insert
from traitsteer.stages import factorial
from traitsteer.words import layout
from traitsteer.words.factor_tables import tables
from traitsteer.world import ledger
from traitsteer.world.files import read_json, read_jsonl
from traitsteer.world.machine import described

PROFILE = Path("profiles/pocket-factorial.yaml")
PAGE = Path("docs/factorial.md")
FIGURES = ("parts", "cosines")
COMMANDS = (
    (sys.executable, "-m", "traitsteer", "check"),
    ("dvc", "repro", "evaluate"),
    (sys.executable, "-m", "traitsteer", "factorial"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study, or take a finished one, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.factorial", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="a clone in which the study has run")
    parser.add_argument("--page", type=Path, default=PAGE)
    chosen = parser.parse_args(arguments)
    if chosen.folder is not None:
        tell(chosen.folder, chosen.page)
        return
    with tempfile.TemporaryDirectory(prefix="factorial-") as place:
        folder = Path(place) / "clone"
        minutes = run(folder) / 60
        tell(folder, chosen.page)
        made = (
            f"Made on {', '.join(described().values())}. The study took {minutes:.0f} minutes, one "
            "command at a time."
        )
        insert(chosen.page, "machine", made, "benchmarks.factorial")


def run(folder: Path) -> float:
    """Clone the last commit, take the profile, run the study; return the seconds that it took."""
    subprocess.run(["git", "clone", "--quiet", ".", str(folder)], check=True)
    shutil.copy(PROFILE, folder / "params.yaml")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DVC_")}
    environment |= {"PYTHONPATH": "src"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    begun = time.perf_counter()
    for command in COMMANDS:
        subprocess.run(command, cwd=folder, env=environment, check=True)
    return time.perf_counter() - begun


def tell(folder: Path, page: Path) -> None:
    """Write the tables of a finished study between the marks of the page, and its figures; the
    report's page shows its reports/factorial.json.
    """
    if folder.resolve() != Path.cwd():
        for line in read_jsonl(folder / layout.LEDGER):
            ledger.add(line)
    found = factorial.complete(read_json(folder / layout.FACTORIAL))
    factorial.write(found)
    insert(page, "results", tables(found), "benchmarks.factorial")
    for name in FIGURES:
        source = layout.FACTORIAL_FIGURES / f"{name}.png"
        shutil.copy(source, page.with_name(f"{page.stem}-{name}.png"))


if __name__ == "__main__":
    main()
