"""Files of expectations: YAML, a list of measures with the range in which each is expected."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.expectations import Expectation
from traitsteer.world.yaml_lists import read_list, rising_pair

NEEDED = {"measure", "range", "why"}
ALLOWED = NEEDED | {"traits", "arms", "layer"}


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_layer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


KINDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "measure": (_is_text, "text"),
    "why": (_is_text, "text"),
    "traits": (_are_names, "a list of names"),
    "arms": (_are_names, "a list of names"),
    "layer": (_is_layer, "a whole number from 0 on"),
}


def read_expectations(path: Path) -> tuple[Expectation, ...]:
    """Return the expectations of a file.

    Raises:
        TraitsteerError: the file is missing or no YAML, or an entry has an unknown or missing key,
            a range that is no two numbers in rising order, or a value of another kind than its
            key asks for.
    """
    entries = read_list(path, "measures")
    return tuple(_read(f"{path}: entry {n}", entry) for n, entry in enumerate(entries, start=1))


def _read(where: str, entry: Any) -> Expectation:  # noqa: ANN401 - YAML holds any value
    keys = set(entry) if isinstance(entry, dict) else set()
    if not keys >= NEEDED or not keys <= ALLOWED:
        raise TraitsteerError(
            f"{where} holds {', '.join(sorted(map(str, keys))) or 'no mapping'}, expected "
            f"{', '.join(sorted(NEEDED))} and at most traits, arms and layer."
        )
    pair = rising_pair(entry["range"])
    if pair is None:
        raise TraitsteerError(f"{where}: range is {entry['range']!r}, expected [least, greatest].")
    for key, (fits, kind) in KINDS.items():
        if key in entry and not fits(entry[key]):
            raise TraitsteerError(f"{where}: {key} is {entry[key]!r}, expected {kind}.")
    return Expectation(
        measure=entry["measure"],
        lower=pair[0],
        upper=pair[1],
        why=entry["why"],
        traits=tuple(entry.get("traits", ())),
        arms=tuple(entry.get("arms", ())),
        layer=entry.get("layer"),
    )
