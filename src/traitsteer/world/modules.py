"""Which modules of the project a file runs, read from its imports, without running it."""

from modulefinder import ModuleFinder
from pathlib import Path

SOURCE = Path(__file__).parents[2]
_PASSIVE = [
    f"traitsteer.words.{name}"
    for name in (
        "config",
        "errors",
        "faults",
        "judge_config",
        "layout",
        "model_config",
        "pocket_config",
        "records",
        "runs",
        "scoring_config",
        "section",
        "shapes",
    )
]
"""Records and the reading of parameters: what they hold, DVC follows by itself."""


def modules_of(file: Path) -> dict[str, Path]:
    """The file itself and every module of ours that it imports, directly or not, by name.

    Imports within functions count; packages do not, and neither do modules without behaviour.
    """
    finder = ModuleFinder(path=[str(SOURCE)], excludes=_PASSIVE)
    finder.run_script(str(file))
    own = ".".join(file.relative_to(SOURCE).with_suffix("").parts)
    files = {name: SOURCE / (name.replace(".", "/") + ".py") for name in sorted(finder.modules)}
    return {own: file} | {name: path for name, path in files.items() if path.exists()}
