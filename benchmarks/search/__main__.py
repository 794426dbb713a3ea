"""python -m benchmarks.search grid | compare [procedure ...] | table

grid: answer every setting (about half an hour on 2 cores; answers are kept in .cache/).
compare: run the procedures, or those named, and write results.json, docs/search.md and the curves.
table: write docs/search.md and the curves from what is stored, without running anything.
"""

import argparse
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from benchmarks.search import grid, table
from benchmarks.search.compare import SEEDS, compare, reference
from benchmarks.search.procedures import Procedure, procedures
from traitsteer.experiment.searching import Search
from traitsteer.words.config import Config, load
from traitsteer.world.files import read_json, write_text
from traitsteer.world.model.model_names import digest_of

MARGINS = (0.0, 0.5, 1.0, 2.0)
RESULTS = Path(__file__).with_name("results.json")
STUDY = Path("reports/comparison.json")
PAGE, CURVES = Path("docs/search.md"), Path("docs/search.png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the commands from the top of the repository."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("command", choices=["grid", "compare", "table"])
    parser.add_argument("procedures", nargs="*", help="names, all if none; `margins` is one too")
    parser.add_argument("--grid", type=Path, default=grid.STORED)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--study", type=Path, default=STUDY)
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
    _write(config, read_json(chosen.results), chosen)


def _compare(config: Config, chosen: argparse.Namespace) -> None:
    # Samplers of Optuna that are experimental say so each time that they are made.
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    surfaces = list(grid.read(chosen.grid))
    kept: dict[str, Any] = {"procedures": {}, "margins": {}}
    if chosen.procedures:
        kept = read_json(chosen.results)
    kept["reference"] = reference(config, surfaces, chosen.seeds)
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


def _write(config: Config, results: dict[str, Any], chosen: argparse.Namespace) -> None:
    instruct = config.models.instruct
    digest = digest_of(instruct.name, instruct.revision)
    same = grid.made_from(chosen.grid).get("model") == digest
    described = table.grid_table(
        list(grid.read(chosen.grid)),
        read_json(chosen.study)["results"],
        config.study.coherence_floor,
        same,
    )
    table.insert(chosen.page, "grid", described)
    found = results["procedures"]
    records = [found[p.name] for p in procedures() if p.name in found]
    left = [
        (p.name, f'not run yet: `python -m benchmarks.search compare "{p.name}"` adds it')
        for p in procedures()
        if p.name not in found
    ]
    said = (
        f"{results['vectors']} vectors x {results['seeds']} seeds; {results['machine']}; "
        f"margin {config.search.margin:g}."
    )
    text = table.comparison_table(records, results["reference"], results["vectors"], left)
    table.insert(chosen.page, "comparison", f"{text}\n\n{said}")
    table.insert(chosen.page, "margins", table.margin_table(list(results["margins"].values())))
    table.curves(records, chosen.curves)


if __name__ == "__main__":
    main()
