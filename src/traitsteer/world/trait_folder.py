"""A trait's folder of hand-written text: its format, and the reader that names file and line.

    definition.txt      the judge's rubric
    names.txt           words that name the trait, one a line
    scenarios.txt       contrast pairs of the natural elicitation
    system_prompts.txt  contrast pairs of the instruction elicitation
    extraction.txt      questions that responses are elicited with, one a line
    selection.txt       questions that layer and strength are chosen on
    report.txt          questions that the reported numbers come from

A line that begins with `#` is a comment. A contrast pair is two lines, `+ ` and the positive
prompt, `- ` and the negative one; blank lines stand between pairs. Text that a plain line cannot
hold (spaces at an end, a line break, a `#` in front) is a backslash and a JSON string: `\\"# one"`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Pair, Trait
from traitsteer.world.files import read_text, write_text

T = TypeVar("T")

PAIR_FILES = ("scenarios", "system_prompts")
QUESTION_FILES = ("extraction", "selection", "report")
FILES = ("definition", "names", *PAIR_FILES, *QUESTION_FILES)

Content = str | tuple[str, ...] | tuple[Pair, ...]
"""What one file holds: the definition, words or questions, or contrast pairs."""

ESCAPE = '\\"'
BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class Line:
    """One item of a trait file and the 1-based line it stands on."""

    number: int
    text: str


@dataclass(frozen=True)
class NumberedPair:
    """A contrast pair whose sides know their lines."""

    positive: Line
    negative: Line


def read_lines(path: Path) -> list[Line]:
    """Return the items of a file with one item a line.

    Raises:
        TraitsteerError: the file is missing, is no UTF-8, or an escaped item is no JSON string.
    """
    return [Line(line.number, _decoded(path, line)) for line in _filled_lines(path)]


def read_pairs(path: Path) -> list[NumberedPair]:
    """Return the contrast pairs of a file.

    Raises:
        TraitsteerError: a line is neither `+ ` nor `- `, a side has no partner, or an escaped
            prompt is no JSON string.
    """
    pairs: list[NumberedPair] = []
    waiting: Line | None = None
    for line in _filled_lines(path):
        sign, text = line.text[:2], Line(line.number, line.text[2:].strip())
        if sign not in ("+ ", "- ") or not text.text:
            raise TraitsteerError(
                f"{path}:{line.number} begins with {line.text[:12]!r}, expected `+ ` or `- ` and a "
                "prompt; write each pair as a `+ ` line followed by a `- ` line."
            )
        text = Line(line.number, _decoded(path, text))
        if sign == "+ ":
            if waiting is not None:
                raise _alone(path, waiting, "negative", "- ")
            waiting = text
        elif waiting is None:
            raise _alone(path, text, "positive", "+ ")
        else:
            pairs.append(NumberedPair(waiting, text))
            waiting = None
    if waiting is not None:
        raise _alone(path, waiting, "negative", "- ")
    return pairs


def read_definition(path: Path) -> str:
    """Return the judge's rubric, without comments and without blank space around it.

    Raises:
        TraitsteerError: the file is missing or is no UTF-8, or an escaped line is no JSON string.
    """
    lines = enumerate(_text(path).split("\n"), start=1)
    kept = [Line(number, text) for number, text in lines if not text.startswith("#")]
    while kept and not kept[0].text.strip():
        kept.pop(0)
    while kept and not kept[-1].text.strip():
        kept.pop()
    if kept:
        kept[0] = Line(kept[0].number, kept[0].text.lstrip())
        kept[-1] = Line(kept[-1].number, kept[-1].text.rstrip())
    return "\n".join(_decoded(path, line) for line in kept)


def read_file(path: Path) -> Content:
    """Return what one file of a trait holds, by the file's name.

    Raises:
        TraitsteerError: the file is missing, malformed, or empty (only names may be none).
    """
    if path.stem == "definition":
        definition = read_definition(path)
        if not definition:
            raise TraitsteerError(f"{path} is empty; write the judge's rubric.")
        return definition
    if path.stem in PAIR_FILES:
        return _pairs(path)
    if path.stem in QUESTION_FILES:
        return _questions(path)
    return tuple(line.text for line in read_lines(path))


def read_trait(folder: Path) -> Trait:
    """Read a whole trait.

    Raises:
        TraitsteerError: the folder or one of its files is missing, empty or malformed.
    """
    if not folder.is_dir():
        raise TraitsteerError(
            f"There is no trait folder {folder}; write one as docs/traits.md describes, or correct "
            "study.traits and study.trait_folder in params.yaml."
        )
    definition = read_definition(folder / "definition.txt")
    if not definition:
        raise TraitsteerError(f"{folder / 'definition.txt'} is empty; write the judge's rubric.")
    pairs = {name: _pairs(folder / f"{name}.txt") for name in PAIR_FILES}
    questions = {name: _questions(folder / f"{name}.txt") for name in QUESTION_FILES}
    return Trait(
        name=folder.name,
        definition=definition,
        names=tuple(line.text for line in read_lines(folder / "names.txt")),
        scenarios=pairs["scenarios"],
        system_prompts=pairs["system_prompts"],
        extraction=questions["extraction"],
        selection=questions["selection"],
        report=questions["report"],
    )


def trait_of(config: Config, name: str) -> Trait:
    """Read a trait of the study; raises TraitsteerError as `read_trait` does."""
    return read_trait(Path(config.study.trait_folder) / name)


def write_trait(folder: Path, trait: Trait) -> None:
    """Write a trait in the format that `read_trait` reads."""
    write_files(folder, {name: getattr(trait, name) for name in FILES})


def write_files(
    folder: Path, contents: Mapping[str, Content], comments: Mapping[str, str] | None = None
) -> None:
    """Write some files of a trait by name; what is written reads back the same, text by text."""
    for name, content in contents.items():
        comment = (comments or {}).get(name)
        head = "".join(f"# {line}\n" for line in comment.splitlines()) if comment else ""
        write_text(folder / f"{name}.txt", head + _written(content))


def _written(content: Content) -> str:
    if isinstance(content, str):
        lines = content.split("\n")
        ends = (0, len(lines) - 1)
        escaped = (_encoded(t) if t or at in ends else "" for at, t in enumerate(lines))
        return "\n".join(escaped) + "\n"
    if any(isinstance(item, Pair) for item in content):
        return "\n".join(
            f"+ {_encoded(pair.positive)}\n- {_encoded(pair.negative)}\n"
            for pair in content
            if isinstance(pair, Pair)
        )
    return "\n".join(_encoded(text) for text in content if isinstance(text, str)) + "\n"


def _encoded(text: str) -> str:
    """The text as one line: itself where that reads back the same, else a JSON string."""
    plain = text == text.strip() and len(text.splitlines()) == 1
    if plain and not text.startswith(("#", ESCAPE, BYTE_ORDER_MARK)):
        return text
    return "\\" + json.dumps(text, ensure_ascii=False)


def _decoded(path: Path, line: Line) -> str:
    if not line.text.startswith(ESCAPE):
        return line.text
    try:
        text = json.loads(line.text[1:])
    except json.JSONDecodeError as error:
        raise TraitsteerError(
            f"{path}:{line.number} begins with a backslash and a quotation mark and is no JSON "
            f"string ({error.msg}); close the string, or write the text plainly."
        ) from error
    return str(text)


def _text(path: Path) -> str:
    return read_text(path).removeprefix(BYTE_ORDER_MARK)


def _filled_lines(path: Path) -> list[Line]:
    """Lines that are neither blank nor comments, without spaces at their ends."""
    # Not splitlines: a prompt may hold separators that end no line of a file.
    return [
        Line(number, text.strip())
        for number, text in enumerate(_text(path).split("\n"), start=1)
        if text.strip() and not text.startswith("#")
    ]


def _pairs(path: Path) -> tuple[Pair, ...]:
    return tuple(Pair(p.positive.text, p.negative.text) for p in _filled(path, read_pairs(path)))


def _questions(path: Path) -> tuple[str, ...]:
    return tuple(line.text for line in _filled(path, read_lines(path)))


def _filled(path: Path, items: list[T]) -> Iterator[T]:
    if not items:
        raise TraitsteerError(f"{path} holds no items; it needs at least one.")
    return iter(items)


def _alone(path: Path, line: Line, other: str, sign: str) -> TraitsteerError:
    return TraitsteerError(
        f"{path}:{line.number} has no {other} side; write its partner as a `{sign}` line beside it."
    )
