"""Measures of a text's words: length, likeness, forms of a word, an answer that has begun.

Pure functions of text, for telling faults of prompts and questions.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

GRAMMAR = frozenset(
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
"""Words of grammar, which two questions share without asking the same thing."""
_SUFFIXES = ("", "s", "es", "d", "ed", "ing", "ly", "ness", "'s")


def words(text: str) -> list[str]:
    """Words in small letters, without punctuation."""
    return re.findall(r"[\w'’-]*\w", text.lower())


def plain(text: str) -> str:
    """Text without what a reader would not see as a difference: case, spaces, punctuation."""
    return " ".join(words(text))


def length(text: str) -> int:
    """How many words."""
    return len(words(text))


def dots(text: str) -> str:
    """Text with every ellipsis as three dots."""
    return text.replace("…", "...")


def begun(text: str) -> list[str]:
    """Words after a quotation mark that the prefix leaves open; none when it closes every one."""
    parts = re.split(r'["“”]', text)
    return words(parts[-1]) if len(parts) % 2 == 0 else []


def quoted(found: Sequence[str]) -> str:
    """The first few words, as a finding shows them."""
    return repr(" ".join(found[:4])) if found else "nothing"


def any_of(names: Iterable[str]) -> re.Pattern[str]:
    """A pattern that finds each of the words in its common forms, in capitals or not."""
    forms = "|".join(sorted({re.escape(form) for name in names for form in _forms(name)}))
    return re.compile(rf"(?<!\w)(?:{forms})(?!\w)", re.IGNORECASE)


def past(names: Iterable[str]) -> re.Pattern[str]:
    """A pattern of the forms in -d that verbs among the words make: lied of lie, not "wicked"."""
    forms = {f for name in names for f in _forms(name) if f != name and f.endswith("d")}
    return re.compile("|".join(map(re.escape, sorted(forms))), re.IGNORECASE)


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


def likeness(one: str, other: str) -> float:
    """Jaccard index of the content words."""
    first, second = _content(one), _content(other)
    return len(first & second) / len(first | second) if first and second else 0.0


def _content(text: str) -> set[str]:
    return {re.sub(r"(?<=\w{3})s$", "", word) for word in words(text)} - GRAMMAR
