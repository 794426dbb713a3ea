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
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal, TypeVar

from traitsteer.words.errors import TraitsteerError
from traitsteer.world.files import read_text
from traitsteer.world.trait_folder import (
    PAIR_FILES,
    QUESTION_FILES,
    Line,
    NumberedPair,
    read_lines,
    read_pairs,
)

Level = Literal["error", "warning"]
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

# Words of grammar, which two questions share without asking the same thing.
_GRAMMAR = frozenset(
    re.findall(
        r"\w+",
        """
        a about after all am an and any are as at be been being but by can could did do does for
        from had has have he her him his how i if in into is it its just like me more most my of
        off on or our out over she should so some such than that the their them then there these
        they this those to too up us was we were what when where which while who whom whose why
        will with would you your
        """,
    )
)
_SUFFIXES = ("", "s", "es", "d", "ed", "ing", "ly", "ness", "'s")


@dataclass(frozen=True)
class Finding:
    """One fault and where it stands; line 0 means the file as a whole."""

    level: Level
    file: Path
    line: int
    sentence: str


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


def report(findings: Sequence[Finding]) -> str:
    """One line a finding, as `file:line: level: sentence`, and a line that counts them."""
    lines = [f"{f.file}{f':{f.line}' if f.line else ''}: {f.level}: {f.sentence}" for f in findings]
    counts = Counter(finding.level for finding in findings)
    levels: tuple[Level, ...] = ("error", "warning")
    total = (f"{counts[level]} {level}{'s' * (counts[level] != 1)}" for level in levels)
    return "\n".join([*lines, ", ".join(total)])


def _definition(path: Path) -> Iterator[Finding]:
    try:
        text = read_text(path).strip()
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
        if _plain(positive.text) == _plain(negative.text):
            said = f"both sides (lines {positive.number} and {negative.number}) say the same."
            yield Finding("error", path, positive.number, said)
        ratio = _length(positive.text) / max(_length(negative.text), 1)
        if not WORD_RATIO[0] <= ratio <= WORD_RATIO[1]:
            said = (
                f"{_length(positive.text)} words against {_length(negative.text)} on line "
                f"{negative.number}; sides of unlike length can be told apart by length."
            )
            yield Finding("warning", path, positive.number, said)
        ends = positive.text[-1:], negative.text[-1:]
        if ends[0] != ends[1] and not (ends[0].isalnum() and ends[1].isalnum()):
            said = f"ends with {ends[0]!r}, its partner on line {negative.number} with {ends[1]!r}."
            yield Finding("warning", path, positive.number, said)
    sides = _by_side(pairs)
    same = [{_plain(p.positive.text), _plain(p.negative.text)} for p in pairs]
    for side in sides:
        # The same text on both sides of one pair has been told already.
        yield from _repeated(path, side)
    texts = [{_plain(line.text): line for line in side} for side in sides]
    for text, line in texts[0].items():
        if text in texts[1] and {text} not in same:
            said = f"stands on the other side too, on line {texts[1][text].number}."
            yield Finding("error", path, line.number, said)
    if not pairs:
        return
    means = [sum(_length(line.text) for line in side) / len(side) for side in sides]
    if abs(means[0] - means[1]) > MEAN_LENGTH_DIFFERENCE * max(means):
        said = (
            f"positive prompts have {means[0]:.1f} words on average, negative ones {means[1]:.1f}; "
            f"expected within {MEAN_LENGTH_DIFFERENCE:.0%} of each other."
        )
        yield Finding("error", path, 0, said)
    for mark in MARKS:
        rates = [sum(mark in _dots(line.text) for line in side) / len(side) for side in sides]
        if abs(rates[0] - rates[1]) > MARK_RATE_DIFFERENCE:
            said = f"{mark!r} is in {rates[0]:.0%} of the positive prompts and {rates[1]:.0%} of "
            yield Finding("warning", path, 0, f"{said}the negative ones.")


def _cues(path: Path, pairs: Sequence[NumberedPair]) -> Iterator[Finding]:
    """Sides that break off at different words, and answers that have already begun."""
    apart = 0
    for pair in pairs:
        positive, negative = pair.positive, pair.negative
        begun = _begun(positive.text), _begun(negative.text)
        if begun[0] or begun[1]:
            if begun[0][:1] != begun[1][:1]:
                apart += 1
                said = f"the answer has begun, and differs from line {negative.number}: "
            else:
                said = f"the answer has begun, alike on line {negative.number}: "
            said += f"{_quoted(begun[0])} against {_quoted(begun[1])}; break off at the quote."
            yield Finding("warning", path, positive.number, said)
        elif _words(positive.text)[-1:] != _words(negative.text)[-1:]:
            apart += 1
            last = [" ".join(_words(side.text)[-1:]) for side in (positive, negative)]
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
        "prompts begin with": lambda text: _words(text)[:2],
        "begun answers begin with": lambda text: _begun(text)[:1],
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
    forms = "|".join(sorted({re.escape(form) for name in names for form in _forms(name)}))
    pattern = re.compile(rf"(?<!\w)({forms})(?!\w)", re.IGNORECASE)
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
        before = first.setdefault(_plain(line.text), line.number)
        if before != line.number:
            yield Finding("error", path, line.number, f"repeats line {before}.")


def _leaks(questions: dict[Path, list[Line]]) -> Iterator[Finding]:
    """Questions of one set that stand in another, word for word or nearly so."""
    for (one, its), (other, others) in combinations(questions.items(), 2):
        for line in others:
            for known in its:
                where = f"line {known.number} of {one.name}: {known.text!r}"
                if _plain(line.text) == _plain(known.text):
                    yield Finding("error", other, line.number, f"is {where}.")
                elif (share := _likeness(line.text, known.text)) >= NEAR_DUPLICATE:
                    said = f"shares {share:.0%} of its content words with {where}."
                    yield Finding("warning", other, line.number, said)


def _by_side(pairs: Sequence[NumberedPair]) -> tuple[list[Line], list[Line]]:
    return [pair.positive for pair in pairs], [pair.negative for pair in pairs]


def _words(text: str) -> list[str]:
    return re.findall(r"[\w'’-]*\w", text.lower())


def _plain(text: str) -> str:
    """Text without what a reader would not see as a difference: case, spaces, punctuation."""
    return " ".join(_words(text))


def _length(text: str) -> int:
    return len(_words(text))


def _dots(text: str) -> str:
    return text.replace("…", "...")


def _begun(text: str) -> list[str]:
    """Words after a quotation mark that the prefix leaves open; none when it closes every one."""
    parts = re.split(r'["“”]', text)
    return _words(parts[-1]) if len(parts) % 2 == 0 else []


def _quoted(words: Sequence[str]) -> str:
    return repr(" ".join(words[:4])) if words else "nothing"


def _forms(name: str) -> Iterator[str]:
    """A word with its common endings: cruel, cruelly; lie, lied, lying; hate, hating."""
    for suffix in _SUFFIXES:
        yield name + suffix
    if name.endswith("ie"):
        yield name[:-2] + "ying"
    elif name.endswith("e"):
        yield name[:-1] + "ing"
    if name.endswith("y"):
        yield from (name[:-1] + "ies", name[:-1] + "ied")


def _likeness(one: str, other: str) -> float:
    """Jaccard index of the content words."""
    first, second = _content(one), _content(other)
    return len(first & second) / len(first | second) if first and second else 0.0


def _content(text: str) -> set[str]:
    return {re.sub(r"(?<=\w{3})s$", "", word) for word in _words(text)} - _GRAMMAR
