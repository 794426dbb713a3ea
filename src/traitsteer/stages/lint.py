"""lint: what is wrong with a trait folder, before models spend hours on it.

An error is a fault that makes the comparison wrong (a side without partner, one text for both
sides, a question in two sets); a warning is one that may weaken or confound the direction. What is
checked, and why, is in docs/traits.md. Reads the folder, writes nothing.

The cue is the end of a prefix, which the response continues. Both sides of a pair should break off
at the same word, before the answer has begun: else the first tokens of the response follow from
the prompt's words and not from the trait.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import TypeVar

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.faults import Finding, report
from traitsteer.words.wording import any_of, begun, dots, length, likeness, plain, quoted, words
from traitsteer.world.trait_folder import (
    PAIR_FILES,
    QUESTION_FILES,
    Line,
    NumberedPair,
    read_definition,
    read_lines,
    read_pairs,
)

__all__ = ["Finding", "check", "report"]

T = TypeVar("T")

FEWEST = {"scenarios": 20, "system_prompts": 5, "extraction": 20, "selection": 20, "report": 20}
DEFINITION_CHARACTERS = 1200
WORD_RATIO = (0.67, 1.5)
MEAN_LENGTH_DIFFERENCE = 0.15
NAMED_AT_MOST = 0.5
TOLD_AT_MOST = 0.5
SAME_OPENING_AT_MOST = 0.1
MARK_RATE_DIFFERENCE = 0.1
NEAR_DUPLICATE = 0.6
MARKS = ("!", "?", "...")


def check(folder: Path) -> list[Finding]:
    """Return the faults of a trait folder in the order of its files and lines."""
    if not folder.is_dir():
        return [Finding("error", folder, 0, "is no folder; give the path of a trait.")]
    findings = list(_definition(folder / "definition.txt"))
    names, found = _items(folder / "names.txt", read_lines)
    findings += found
    for name in PAIR_FILES:
        path = folder / f"{name}.txt"
        pairs, found = _items(path, read_pairs)
        findings += [*found, *_sides(path)]
        findings += _pairs(path, pairs)
        if name == "scenarios":
            findings += [*_cues(path, pairs), *_openings(path, pairs)]
            findings += _named(path, pairs, [line.text for line in names])
    questions: dict[Path, list[Line]] = {}
    for name in QUESTION_FILES:
        path = folder / f"{name}.txt"
        questions[path], found = _items(path, read_lines)
        findings += [*found, *_repeated(path, questions[path])]
    findings += _leaks(questions)
    return sorted(findings, key=lambda finding: (finding.file, finding.line))


def _definition(path: Path) -> Iterator[Finding]:
    try:
        text = read_definition(path)
    except TraitsteerError as error:
        yield Finding("error", path, 0, str(error))
        return
    if not text:
        yield Finding("error", path, 0, "is empty; write the judge's rubric.")
    for grade in ("HIGH", "MID", "LOW"):
        if not re.search(rf"^{grade}\b", text, re.MULTILINE):
            yield Finding("warning", path, 0, f"has no line that begins with {grade}.")
    if len(text) > DEFINITION_CHARACTERS:
        yield Finding(
            "warning",
            path,
            0,
            f"has {len(text)} characters; judges follow rubrics of at most "
            f"{DEFINITION_CHARACTERS} better.",
        )


def _items(path: Path, read: Callable[[Path], list[T]]) -> tuple[list[T], list[Finding]]:
    """What the reader finds, or its complaint; an empty file is an error, a short one a warning."""
    try:
        items = read(path)
    except TraitsteerError as error:
        sentence = str(error).removeprefix(str(path))
        where = re.match(r":(\d+) ", sentence)
        line = int(where[1]) if where else 0
        return [], [Finding("error", path, line, sentence[where.end() :] if where else str(error))]
    fewest = FEWEST.get(path.stem, 1)
    if not items:
        return [], [Finding("error", path, 0, "holds no items; it needs at least one.")]
    if len(items) < fewest:
        said = f"holds {len(items)} items; {fewest} or more give steadier numbers."
        return items, [Finding("warning", path, 0, said)]
    return items, []


def _sides(path: Path) -> Iterator[Finding]:
    """Unequal counts, told apart from the first side that stands alone."""
    try:
        signs = Counter(line.text[:2] for line in read_lines(path))
    except TraitsteerError:
        # The pairs could not be read either, which has been told.
        return
    if signs["+ "] != signs["- "]:
        yield Finding(
            "error", path, 0, f"holds {signs['+ ']} positive and {signs['- ']} negative prompts."
        )


def _pairs(path: Path, pairs: Sequence[NumberedPair]) -> Iterator[Finding]:
    """Duplicates, length and punctuation of both sides."""
    for pair in pairs:
        positive, negative = pair.positive, pair.negative
        if plain(positive.text) == plain(negative.text):
            said = f"both sides (lines {positive.number} and {negative.number}) say the same."
            yield Finding("error", path, positive.number, said)
        ratio = length(positive.text) / max(length(negative.text), 1)
        if not WORD_RATIO[0] <= ratio <= WORD_RATIO[1]:
            said = (
                f"{length(positive.text)} words against {length(negative.text)} on line "
                f"{negative.number}; sides of unlike length can be told apart by length."
            )
            yield Finding("warning", path, positive.number, said)
        ends = positive.text[-1:], negative.text[-1:]
        if ends[0] != ends[1] and not (ends[0].isalnum() and ends[1].isalnum()):
            said = f"ends with {ends[0]!r}, its partner on line {negative.number} with {ends[1]!r}."
            yield Finding("warning", path, positive.number, said)
    sides = _by_side(pairs)
    same = [{plain(p.positive.text), plain(p.negative.text)} for p in pairs]
    for side in sides:
        # The same text on both sides of one pair has been told already.
        yield from _repeated(path, side)
    texts = [{plain(line.text): line for line in side} for side in sides]
    for text, line in texts[0].items():
        if text in texts[1] and {text} not in same:
            said = f"stands on the other side too, on line {texts[1][text].number}."
            yield Finding("error", path, line.number, said)
    if not pairs:
        return
    means = [sum(length(line.text) for line in side) / len(side) for side in sides]
    if abs(means[0] - means[1]) > MEAN_LENGTH_DIFFERENCE * max(means):
        said = (
            f"positive prompts have {means[0]:.1f} words on average, negative ones {means[1]:.1f}; "
            f"expected within {MEAN_LENGTH_DIFFERENCE:.0%} of each other."
        )
        yield Finding("error", path, 0, said)
    for mark in MARKS:
        rates = [sum(mark in dots(line.text) for line in side) / len(side) for side in sides]
        if abs(rates[0] - rates[1]) > MARK_RATE_DIFFERENCE:
            said = f"{mark!r} is in {rates[0]:.0%} of the positive prompts and {rates[1]:.0%} of "
            yield Finding("warning", path, 0, f"{said}the negative ones.")


def _cues(path: Path, pairs: Sequence[NumberedPair]) -> Iterator[Finding]:
    """Sides that break off at different words, and answers that have already begun."""
    apart = 0
    for pair in pairs:
        positive, negative = pair.positive, pair.negative
        answers = begun(positive.text), begun(negative.text)
        if answers[0] or answers[1]:
            if answers[0][:1] != answers[1][:1]:
                apart += 1
                said = f"the answer has begun, and differs from line {negative.number}: "
            else:
                said = f"the answer has begun, alike on line {negative.number}: "
            said += f"{quoted(answers[0])} against {quoted(answers[1])}; break off at the quote."
            yield Finding("warning", path, positive.number, said)
        elif words(positive.text)[-1:] != words(negative.text)[-1:]:
            apart += 1
            last = [" ".join(words(side.text)[-1:]) for side in (positive, negative)]
            said = (
                f"breaks off at {last[0]!r}, its partner on line {negative.number} at {last[1]!r}; "
                "the response should follow the same word on both sides."
            )
            yield Finding("warning", path, positive.number, said)
    if apart > TOLD_AT_MOST * len(pairs):
        said = f"{apart} of {len(pairs)} pairs break off at different words on the two sides."
        yield Finding("error", path, 0, said)


def _openings(path: Path, pairs: Sequence[NumberedPair]) -> Iterator[Finding]:
    """Many prompts of a polarity that open alike, or whose answers have begun alike."""
    parts: dict[str, Callable[[str], list[str]]] = {
        "prompts begin with": lambda text: words(text)[:2],
        "begun answers begin with": lambda text: begun(text)[:1],
    }
    for polarity, side in zip(("positive", "negative"), _by_side(pairs), strict=True):
        for what, part in parts.items():
            counts = Counter(" ".join(part(line.text)) for line in side if part(line.text))
            for opening, count in counts.most_common(1):
                if count > max(2, SAME_OPENING_AT_MOST * len(side)):
                    said = f"{count} of {len(side)} {polarity} {what} {opening!r}; vary them."
                    yield Finding("warning", path, 0, said)


def _named(path: Path, pairs: Sequence[NumberedPair], names: Sequence[str]) -> Iterator[Finding]:
    """Prefixes that name the trait, which the model could follow without showing it."""
    if not names:
        return
    pattern = any_of(names)
    sides = _by_side(pairs)
    found = [(line, pattern.search(line.text)) for side in sides for line in side]
    hits = [(line, match[0]) for line, match in found if match]
    for line, name in hits:
        yield Finding("warning", path, line.number, f"names the trait: {name!r}.")
    total = 2 * len(pairs)
    if len(hits) > NAMED_AT_MOST * total:
        said = f"{len(hits)} of {total} prefixes name the trait; show it instead."
        yield Finding("error", path, 0, said)


def _repeated(path: Path, lines: Iterable[Line]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for line in lines:
        before = first.setdefault(plain(line.text), line.number)
        if before != line.number:
            yield Finding("error", path, line.number, f"repeats line {before}.")


def _leaks(questions: dict[Path, list[Line]]) -> Iterator[Finding]:
    """Questions of one set that stand in another, word for word or nearly so."""
    for (one, its), (other, others) in combinations(questions.items(), 2):
        for line in others:
            for known in its:
                where = f"line {known.number} of {one.name}: {known.text!r}"
                if plain(line.text) == plain(known.text):
                    yield Finding("error", other, line.number, f"is {where}.")
                elif (share := likeness(line.text, known.text)) >= NEAR_DUPLICATE:
                    said = f"shares {share:.0%} of its content words with {where}."
                    yield Finding("warning", other, line.number, said)


def _by_side(pairs: Sequence[NumberedPair]) -> tuple[list[Line], list[Line]]:
    return [pair.positive for pair in pairs], [pair.negative for pair in pairs]
