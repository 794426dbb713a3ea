"""A trait's folder of hand-written text: its format, and the reader that names file and line.

    definition.txt      the judge's rubric
    names.txt           words that name the trait, one a line
    scenarios.txt       contrast pairs of the natural elicitation
    system_prompts.txt  contrast pairs of the instruction elicitation
    extraction.txt      questions that responses are elicited with, one a line
    selection.txt       questions that layer and strength are chosen on
    report.txt          questions that the reported numbers come from

A line that begins with `#` is a comment. A contrast pair is two lines, `+ ` and the positive
prompt, `- ` and the negative one; blank lines stand between pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Pair, Trait
from traitsteer.world.files import read_text, write_text

T = TypeVar("T")

PAIR_FILES = ("scenarios", "system_prompts")
QUESTION_FILES = ("extraction", "selection", "report")


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
        TraitsteerError: the file is missing or is no UTF-8.
    """
    return [
        Line(number, text.strip())
        for number, text in enumerate(read_text(path).splitlines(), start=1)
        if text.strip() and not text.startswith("#")
    ]


def read_pairs(path: Path) -> list[NumberedPair]:
    """Return the contrast pairs of a file.

    Raises:
        TraitsteerError: a line is neither `+ ` nor `- `, or a side has no partner.
    """
    pairs: list[NumberedPair] = []
    waiting: Line | None = None
    for line in read_lines(path):
        sign, text = line.text[:2], Line(line.number, line.text[2:].strip())
        if sign not in ("+ ", "- ") or not text.text:
            raise TraitsteerError(
                f"{path}:{line.number} begins with {line.text[:12]!r}, expected `+ ` or `- ` and a "
                "prompt; write each pair as a `+ ` line followed by a `- ` line."
            )
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
    definition = "\n".join(
        line for line in read_text(folder / "definition.txt").splitlines() if line[:1] != "#"
    ).strip()
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


def write_trait(folder: Path, trait: Trait) -> None:
    """Write a trait in the format that `read_trait` reads."""
    write_text(folder / "definition.txt", trait.definition + "\n")
    write_text(folder / "names.txt", "\n".join(trait.names) + "\n")
    for name in PAIR_FILES:
        blocks = [f"+ {pair.positive}\n- {pair.negative}\n" for pair in getattr(trait, name)]
        write_text(folder / f"{name}.txt", "\n".join(blocks))
    for name in QUESTION_FILES:
        write_text(folder / f"{name}.txt", "\n".join(getattr(trait, name)) + "\n")


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
