"""Lists that people write by hand as YAML, one entry a thing, and the ranges that stand in them."""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from traitsteer.words.errors import TraitsteerError
from traitsteer.world.files import read_text


def read_list(path: Path, of: str) -> list[Any]:
    """The entries of a file; `of` names them in the sentences.

    Raises:
        TraitsteerError: the file is missing or no YAML, or holds no list or an empty one.
    """
    try:
        entries = YAML(typ="safe", pure=True).load(io.StringIO(read_text(path)))
    except YAMLError as error:
        raise TraitsteerError(f"{path} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(entries, list) or not entries:
        held = "an empty list" if isinstance(entries, list) else type(entries).__name__
        raise TraitsteerError(f"{path} holds {held}, expected a list of {of}, at least one.")
    return entries


def rising_pair(value: object) -> tuple[float, float] | None:
    """Both numbers of `[least, greatest]`; None for whatever is no two numbers that rise."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    # YAML's true and false are whole numbers to Python.
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in value):
        return None
    least, greatest = map(float, value)
    return (least, greatest) if least < greatest else None
