"""The commands that exchange trait data and vectors with other tools."""

import argparse
from pathlib import Path
from typing import Any, get_args

from traitsteer.words.records import VectorFormat


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse's type has no public name
    """Add `import`, `export` and `import-vector` to the sub-commands of a parser."""
    _add_import(commands.add_parser("import", help="trait data of others into a trait folder"))
    _add_export(commands.add_parser("export", help="a fitted vector with its card"))
    _add_import_vector(commands.add_parser("import-vector", help="a vector of another tool"))


def _add_import(command: argparse.ArgumentParser) -> None:
    command.add_argument("sources", nargs="+", type=Path, metavar="source")
    command.add_argument("--into", type=Path, required=True, metavar="FOLDER")
    for name, what in (
        ("definition", "the judge's rubric"),
        ("extraction", "questions to elicit with"),
        ("selection", "questions to choose layer and strength on"),
        ("report", "questions to report on"),
    ):
        command.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"{what}, from this file")
    command.add_argument("--names", nargs="+", default=[], help="words that name the trait")
    command.add_argument("--split", type=int, help="evaluation questions that are for selection")
    command.add_argument("--seed", type=int, default=0, help="of the split")
    command.add_argument("--partial", action="store_true", help="write what there is")
    command.add_argument("--force", action="store_true", help="write over other files")
    command.set_defaults(run=_import)


def _import(chosen: argparse.Namespace) -> int:
    from traitsteer.experiment.gathering import Choices
    from traitsteer.stages import import_trait

    named = {key: value for key, value in vars(chosen).items() if key not in ("sources", "run")}
    choices = Choices(**(named | {"names": tuple(chosen.names)}))
    print(import_trait.run(chosen.sources, choices))
    return 0


def _add_export(command: argparse.ArgumentParser) -> None:
    command.add_argument("trait")
    command.add_argument("arm")
    command.add_argument("--to", type=Path, required=True, metavar="FOLDER")
    command.add_argument("--method", help="default: the best by the selection questions")
    command.add_argument("--layer", type=int, help="default: the evaluated one, else all")
    command.add_argument("--all-layers", action="store_true")
    formats = get_args(VectorFormat)
    command.add_argument(
        "--format", dest="formats", nargs="+", choices=formats, default=formats[:1]
    )
    command.add_argument("--scaled", action="store_true", help="GGUF holds vector x coefficient")
    command.add_argument("--model-hint", help="GGUF's name of the architecture")
    command.add_argument("--force", action="store_true", help="write over other files")
    command.set_defaults(run=_export)


def _export(chosen: argparse.Namespace) -> int:
    from traitsteer.stages import export_vector
    from traitsteer.words.config import load

    named = {k: value for k, value in vars(chosen).items() if k not in ("trait", "arm", "run")}
    wanted = export_vector.Wanted(**(named | {"formats": tuple(dict.fromkeys(chosen.formats))}))
    print(export_vector.run(load(), chosen.trait, chosen.arm, wanted))
    return 0


def _add_import_vector(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path)
    command.add_argument("--to", type=Path, required=True, metavar="FILE.safetensors")
    command.add_argument("--model", help="hub id or folder that the vectors must fit")
    command.add_argument("--layer", type=int, help="of a single vector that does not say it")
    command.add_argument("--force", action="store_true", help="write over another file")
    command.set_defaults(run=_import_vector)


def _import_vector(chosen: argparse.Namespace) -> int:
    from traitsteer.stages import import_vector

    print(import_vector.run(chosen.file, chosen.to, chosen.model, chosen.layer, force=chosen.force))
    return 0
