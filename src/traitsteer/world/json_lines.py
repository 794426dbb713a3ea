"""Text and JSON that other people wrote: what is in it, and the line on which each part stands.

A key that stands twice in one object is refused, since readers of JSON keep either without a word.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traitsteer.words.errors import TraitsteerError

KeyPath = tuple[str | int, ...]
"""Keys and numbers that lead from the whole to a value: `("questions", 3)`."""

_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Text:
    """One text and where it stands."""

    text: str
    where: str
    """`file:line`."""


@dataclass(frozen=True)
class Located:
    """A JSON value and the 1-based line of the file on which each part of it begins."""

    path: Path
    value: Any
    lines: Mapping[KeyPath, int]

    def at(self, *place: str | int) -> str:
        """Where a part of the value stands, as `file:line`."""
        return f"{self.path}:{self.lines[place]}"

    def part(self, *place: str | int) -> Any:  # noqa: ANN401 - JSON holds any value
        """The value at a place."""
        value = self.value
        for key in place:
            value = value[key]
        return value

    def require(self, *keys: str) -> None:
        """Check that the whole is an object with these keys.

        Raises:
            TraitsteerError: it is none, or lacks one.
        """
        if not isinstance(self.value, dict):
            raise TraitsteerError(
                f"{self.at()} is {_kind(self.value)}, expected an object with {' and '.join(keys)}."
            )
        for key in keys:
            if key not in self.value:
                raise TraitsteerError(
                    f"{self.at()} has no key {key!r}, expected {' and '.join(keys)}; it has "
                    f"{', '.join(self.value) or 'none'}."
                )

    def items(self, *place: str | int) -> range:
        """The numbers of the items of the list at a place.

        Raises:
            TraitsteerError: there is no list, or it is empty.
        """
        value = self.part(*place)
        if not isinstance(value, list) or not value:
            raise TraitsteerError(
                f"{self.at(*place)} {_name(place)} is {_kind(value)}, expected a list with at "
                "least one item."
            )
        return range(len(value))

    def text(self, *place: str | int) -> Text:
        """The text at a place.

        Raises:
            TraitsteerError: it is no text, is blank, or holds what no file can.
        """
        value, where = self.part(*place), f"{self.at(*place)} {_name(place)}"
        if not isinstance(value, str):
            raise TraitsteerError(f"{where} is {_kind(value)}, expected a text.")
        if not value.strip():
            raise TraitsteerError(f"{where} is blank; write the text or remove it.")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise TraitsteerError(
                f"{where} holds half of a surrogate pair, which is no character; mend the escape."
            )
        return Text(value, self.at(*place))

    def texts(self, *place: str | int) -> tuple[Text, ...]:
        """The texts of the list at a place; raises what `items` and `text` raise."""
        return tuple(self.text(*place, number) for number in self.items(*place))


def other_keys(
    found: Iterable[Located], known: Sequence[str], *place: str | int
) -> tuple[str, ...]:
    """A sentence for each unknown key of the objects at a place, where it first stands."""
    said: dict[str, str] = {}
    counts: dict[str, int] = {}
    for one in found:
        for key, value in one.part(*place).items():
            if key not in known:
                said.setdefault(key, f"{one.at(*place, key)} {key}: {_shown(value)}")
                counts[key] = counts.get(key, 0) + 1
    return tuple(
        line + (f" (and {counts[key] - 1} more lines)" if counts[key] > 1 else "")
        for key, line in said.items()
    )


def read_foreign_text(path: Path) -> str:
    """Read UTF-8 text as it is, without a byte order mark; line ends stay what they are.

    Raises:
        TraitsteerError: the file is missing, or a byte of the line that is named is no UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise TraitsteerError(f"{path} is not there; check the path.") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise TraitsteerError(
            f"{path}:{line} is no UTF-8 text ({error.reason}); save the file as UTF-8."
        ) from error


def parse(path: Path, text: str, first_line: int = 1) -> Located:
    """Parse one JSON text that begins on `first_line` of the file.

    Raises:
        TraitsteerError: the text is no JSON, or a key stands twice in one object.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise TraitsteerError(
            f"{path}:{first_line + error.lineno - 1} is no JSON ({error.msg}); the file is damaged "
            "or cut short: get it again or mend that line."
        ) from error
    breaks = [at for at, character in enumerate(text) if character == "\n"]
    offsets: dict[KeyPath, int] = {}
    again: list[tuple[int, str | int]] = []
    _walk(text, _skip(text, 0), (), offsets, again)
    for at, key in again[:1]:
        raise TraitsteerError(
            f"{path}:{first_line + bisect_right(breaks, at)} gives the key {key!r} a second time; "
            "keep one of the two."
        )
    lines = {place: first_line + bisect_right(breaks, at) for place, at in offsets.items()}
    return Located(path, value, lines)


def _walk(
    text: str,
    at: int,
    place: KeyPath,
    offsets: dict[KeyPath, int],
    again: list[tuple[int, str | int]],
) -> int:
    """Note where the value at `at` and its parts begin; return where it ends.

    The text is known to be JSON. A key that stands twice is noted in `again`, with where it does.
    """
    offsets[place] = at
    if text[at] not in "{[":
        return int(_DECODER.raw_decode(text, at)[1])
    end = "}" if text[at] == "{" else "]"
    at, number = _skip(text, at + 1), 0
    while text[at] != end:
        key: str | int = number
        if end == "}":
            named_at = at
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
            if (*place, key) in offsets:
                again.append((named_at, key))
        at = _skip(text, _walk(text, at, (*place, key), offsets, again))
        at, number = _skip(text, at + 1) if text[at] == "," else at, number + 1
    return at + 1


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\n\r":
        at += 1
    return at


def _name(place: KeyPath) -> str:
    return " ".join(str(key + 1) if isinstance(key, int) else key for key in place) or "the whole"


def _shown(value: Any) -> str:  # noqa: ANN401 - JSON holds any value
    text = repr(value)
    return text if len(text) <= 70 else f"{text[:67]}..."


def _kind(value: Any) -> str:  # noqa: ANN401 - JSON holds any value
    if value is None or value == []:
        return "empty"
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value"}
    return names.get(type(value), "a number")
