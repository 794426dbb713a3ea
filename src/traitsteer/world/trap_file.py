"""Files of traps, one for each trait: YAML that a person writes by hand and a diff shows.

A file is a list of groups; the items of a group share their bounds, and groups may share a name:

    - trap: quotation
      why: What somebody else said is not the speaker's stance.
      trait: [0, 30]
      coherence: null
      items:
        - question: What does the villain say?
          answer: He says, "Their tears delight me."
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer
from traitsteer.words.traps import Bounds, Trap
from traitsteer.world.files import write_text
from traitsteer.world.yaml_lists import read_list, rising_pair

GROUP = {"trap", "why", "trait", "coherence", "items"}
ITEM = {"question", "answer"}


def read_traps(path: Path) -> tuple[Trap, ...]:
    """Return the items of a file in their order.

    Raises:
        TraitsteerError: the file is missing or no YAML, a key is missing or unknown, bounds are no
            two rising numbers from 0 to 100, or nothing is expected of a group.
    """
    groups = read_list(path, "traps")
    return tuple(
        trap for number, group in enumerate(groups, start=1) for trap in _group(path, number, group)
    )


def write_traps(path: Path, traps: Sequence[Trap], heading: str) -> None:
    """Write traps as `read_traps` reads them, under a comment of one line."""
    groups = [
        {
            "trap": name,
            "why": why,
            "trait": _pair(trait),
            "coherence": _pair(coherence),
            "items": [
                {"question": trap.answer.question, "answer": trap.answer.text} for trap in items
            ],
        }
        for (name, why, trait, coherence), items in groupby(
            traps, lambda trap: (trap.name, trap.why, trap.trait, trap.coherence)
        )
    ]
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = None, False  # type: ignore[assignment]
    yaml.width = 1000
    file = io.StringIO()
    yaml.dump(groups, file)
    write_text(path, f"# {heading}\n{file.getvalue()}")


def _group(path: Path, number: int, group: object) -> Iterator[Trap]:
    where = f"{path}: trap {number}"
    found = _mapping(where, group, GROUP)
    trait, coherence = (_bounds(where, name, found[name]) for name in ("trait", "coherence"))
    if trait is None and coherence is None:
        raise TraitsteerError(f"{where} expects nothing; give bounds of trait or coherence.")
    name, items = str(found["trap"]), found["items"]
    if name.strip() in ("", "all"):
        raise TraitsteerError(
            f"{where} is named {name!r}, which stands for no trap or for all; name it otherwise."
        )
    if not isinstance(items, list) or not items:
        raise TraitsteerError(f"{where} has no items; write at least one question and answer.")
    for place, item in enumerate(items, start=1):
        texts = _mapping(f"{where}, item {place}", item, ITEM)
        if not all(isinstance(text, str) for text in texts.values()):
            raise TraitsteerError(
                f"{where}, item {place} holds something other than text; put it in quotes."
            )
        answer = Answer(texts["question"], texts["answer"])
        yield Trap(name, str(found["why"]), answer, trait, coherence)


def _mapping(where: str, value: object, keys: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict) or set(value) != keys:
        held = ", ".join(map(str, value)) if isinstance(value, dict) else type(value).__name__
        raise TraitsteerError(
            f"{where} holds {held or 'nothing'}, expected {', '.join(sorted(keys))}; write it as "
            "docs/audit.md describes."
        )
    return value


def _bounds(where: str, name: str, value: object) -> Bounds | None:
    if value is None:
        return None
    pair = rising_pair(value)
    if pair is None or pair[0] < 0 or pair[1] > 100:
        raise TraitsteerError(
            f"{where}: {name} is {value!r}, expected [least, greatest] from 0 to 100, or null."
        )
    return Bounds(*pair)


def _pair(bounds: Bounds | None) -> list[int | float] | None:
    """Bounds as they are written: whole numbers without a point."""
    if bounds is None:
        return None
    return [int(n) if n == int(n) else n for n in (bounds.lower, bounds.upper)]
