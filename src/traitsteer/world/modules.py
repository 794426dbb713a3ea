"""Which modules of the project a file runs, read from its imports, without running it."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[2]
_PASSIVE = {
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
}
"""Records and the reading of parameters: what they hold, DVC follows by itself."""


def modules_of(file: Path) -> dict[str, Path]:
    """The file itself and every module of ours that it imports, directly or not, by name.

    Imports within functions count; packages do not, and neither do modules without behaviour.
    """
    own = ".".join(file.relative_to(SOURCE).with_suffix("").parts)
    found, left = {own: file}, [file]
    while left:
        for name in _imported(left.pop().read_bytes()):
            path = SOURCE / (name.replace(".", "/") + ".py")
            if name not in found and name not in _PASSIVE and path.exists():
                found[name] = path
                left.append(path)
    del found[own]
    return {own: file} | dict(sorted(found.items()))


@cache
def _imported(source: bytes) -> frozenset[str]:
    """What a file imports, by its whole name; some of it is no module but lies within one."""
    return frozenset(_names(ast.parse(source)))


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:  # ruff allows no relative ones
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
