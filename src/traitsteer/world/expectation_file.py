"""Files of expectations: YAML, a list of measures with the range in which each is expected."""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.expectations import Expectation
from traitsteer.world.files import read_text

NEEDED = {"measure", "range", "why"}
ALLOWED = NEEDED | {"traits", "arms", "layer"}


def read_expectations(path: Path) -> tuple[Expectation, ...]:
    """Return the expectations of a file.

    Raises:
        TraitsteerError: the file is missing or no YAML, or an entry has an unknown or missing key
            or a range that is no two numbers in rising order.
    """
    try:
        entries = YAML(typ="safe", pure=True).load(io.StringIO(read_text(path)))
    except YAMLError as error:
        raise TraitsteerError(f"{path} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(entries, list):
        raise TraitsteerError(
            f"{path} holds {type(entries).__name__}, expected a list of measures."
        )
    return tuple(_read(f"{path}: entry {n}", entry) for n, entry in enumerate(entries, start=1))


def _read(where: str, entry: Any) -> Expectation:  # noqa: ANN401 - YAML holds any value
    keys = set(entry) if isinstance(entry, dict) else set()
    if not keys >= NEEDED or not keys <= ALLOWED:
        raise TraitsteerError(
            f"{where} holds {', '.join(sorted(keys)) or 'no mapping'}, expected "
            f"{', '.join(sorted(NEEDED))} and at most traits, arms and layer."
        )
    span = entry["range"]
    numbers = [n for n in span if isinstance(n, int | float)] if isinstance(span, list) else []
    if len(numbers) != 2 or len(span) != 2 or not numbers[0] < numbers[1]:
        raise TraitsteerError(f"{where}: range is {span!r}, expected [least, greatest].")
    return Expectation(
        measure=str(entry["measure"]),
        lower=float(numbers[0]),
        upper=float(numbers[1]),
        why=str(entry["why"]),
        traits=tuple(entry.get("traits", ())),
        arms=tuple(entry.get("arms", ())),
        layer=entry.get("layer"),
    )
