"""python -m benchmarks.search grid | compare [procedure ...] | table

grid: answer every setting (about half an hour on 2 cores; answers are kept in .cache/).
compare: run the procedures, or those named, and write results.json, docs/search.md and the curves.
table: write docs/search.md and the curves from results.json alone.
"""

import argparse
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from benchmarks.search import grid, table
from benchmarks.search.compare import SEEDS, compare
from benchmarks.search.procedures import Procedure, missing, procedures
from traitsteer.experiment.searching import Search
from traitsteer.words.config import Config, load
from traitsteer.world.files import write_text

MARGINS = (0.0, 0.5, 1.0, 2.0)
RESULTS = Path(__file__).with_name("results.json")
PAGE, CURVES = Path("docs/search.md"), Path("docs/search.png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the commands from the top of the repository."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("command", choices=["grid", "compare", "table"])
    parser.add_argument("procedures", nargs="*", help="names, all if none; `margins` is one too")
    parser.add_argument("--grid", type=Path, default=grid.STORED)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--curves", type=Path, default=CURVES)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    chosen = parser.parse_args(arguments)
    config = load(Path("profiles/pocket.yaml"))
    if chosen.command == "grid":
        grid.compute(config, chosen.grid)
        return
    if chosen.command == "compare":
        _compare(config, chosen)
    _write(json.loads(chosen.results.read_text(encoding="utf-8")), chosen)


def _compare(config: Config, chosen: argparse.Namespace) -> None:
    # Samplers of Optuna that are experimental say so each time that they are made.
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    surfaces = list(grid.read(chosen.grid))
    kept: dict[str, Any] = {"procedures": {}, "margins": {}}
    if chosen.procedures:
        kept = json.loads(chosen.results.read_text(encoding="utf-8"))
    kept |= {"machine": table.machine(), "vectors": len(surfaces), "seeds": chosen.seeds}
    wanted = [p for p in procedures() if not chosen.procedures or p.name in chosen.procedures]
    varied = [
        Procedure(str(margin), Search, changes={"margin": margin})
        for margin in MARGINS
        if not chosen.procedures or "margins" in chosen.procedures
    ]
    for part, listed in (("procedures", wanted), ("margins", varied)):
        for record in compare(config, surfaces, listed, chosen.seeds, print):
            kept[part][record["name"]] = record
            # The slow ones take half an hour: what is done stays done.
            write_text(chosen.results, json.dumps(kept) + "\n")


def _write(results: dict[str, Any], chosen: argparse.Namespace) -> None:
    found = results["procedures"]
    records = [found[p.name] for p in procedures() if p.name in found]
    said = (
        f"{results['vectors']} vectors x {results['seeds']} seeds; {results['machine']}; "
        f"margin {load(Path('profiles/pocket.yaml')).search.margin:g}."
    )
    text = table.comparison_table(records, results["vectors"], missing())
    table.insert(chosen.page, "comparison", f"{text}\n\n{said}")
    table.insert(chosen.page, "margins", table.margin_table(list(results["margins"].values())))
    table.curves(records, chosen.curves)


if __name__ == "__main__":
    main()
