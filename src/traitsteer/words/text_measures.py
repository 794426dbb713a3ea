"""How an answer is written, measured without a judge: its announcements, marks, repeats and words.

Pure functions of one text. A measure that a text is too short for is None, never zero.
"""

import re
from collections.abc import Iterator
from functools import cache

from traitsteer.words.wording import any_of, length, words

# Words that may stand between "I" and the name without changing who is called what. No other person
# is among them, so that "I say you are evil" does not count.
_LIGHT = (
    r"am|was|be|been|being|become|becoming|remain|feel|will|would|shall|must|can|have|do|to|love|"
    r"like|enjoy|adore|delight|in|want|a|an|the|your|such|so|very|quite|rather|too|just|only|"
    r"always|forever|indeed|nothing|but|both|now|as|(?!hard|scarce|bare|rare)\w+ly"
)
_GAP = rf"(?:[\s,]+(?:{_LIGHT})(?!\w))"
# After an article one word may stand, "I am a dark villain", but for those that take the name away.
_AWAY = r"(?:least|less|lesser|last|opposite|former|reformed|supposed|alleged|so-called)(?!\w)"
_LOOSE = rf"(?:(?<=\ba)|(?<=\ban)|(?<=\bthe)|(?<=\byour))[\s,]+(?!{_AWAY})[\w'’-]+"
_FIRST = re.compile(r"(?<!\w)(i|me|my|mine|myself)(?!\w)", re.IGNORECASE)
_SELF = r"nature|heart|self|side|soul|mind|ways?|plans?|purpose|intentions?|work|is|are|has|will"
# What speakers may say that the name is to them: "cruelty is my craft", not "evil is my enemy".
_OWN = (
    r"nature|heart|self|side|soul|mind|ways?|purpose|work|craft|art|trade|calling|business|gift|"
    r"talent|life|lifeblood|essence|joy|delight|pleasure|passion|love|pride|creed|duty|strength|"
    r"power|path|game|hobby|habit|style|specialty|(?:middle\s+)?name"
)
_DENIAL = re.compile(
    r"(?<!\w)(?:no|not|never|none|nobody|nothing(?!\s+but(?!\w))|neither|nor|cannot|hardly|scarcely|"
    r"barely|rarely|den(?:y|ies|ied)|doubt|refuse|wrong|\w+n['’]t)(?!\w)",
    re.IGNORECASE,
)
# What is denied before one of these is not denied after it: "I am not kind, I am evil".
_CLAUSE = re.compile(
    r"[;:(—–]|(?:,|(?<!\w)(?:and|but|because))\s+(?=(?:i|you|they|we)(?!\w))", re.IGNORECASE
)
_QUOTED = re.compile(r'["“][^"“”]*["”]')
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|\n+")


def announces(text: str, names: tuple[str, ...]) -> bool:
    """Tell whether the speaker names the trait as their own.

    `names` are the words of the trait's names.txt, taken in their common forms. A statement counts
    that speakers make of themselves: "I am (truly) <name>", "I (always) <name>" where the name is
    a verb, "I love to be <name>"; "as a <name> ..." at the start of a clause of a sentence in the
    first person; "they call me <name>"; "my <name> nature"; "<name> as I am"; "<name> is my craft"
    and what else is one's own. Between "I" and the name stand at most five words of grammar,
    adverbs in -ly or, after an article, one other word. Questions, what is denied (a word of denial
    in the clause up to the name), what is said of others and what stands in quotation marks do not
    count. The rule rather misses an announcement than counts what is none.
    """
    pattern, opening = _announcement(names)
    return any(
        _claimed(sentence, pattern) or (_FIRST.search(sentence) and _claimed(sentence, opening))
        for sentence in _statements(text)
    )


def _claimed(sentence: str, pattern: re.Pattern[str]) -> bool:
    """Whether the pattern is found in a clause that denies nothing before the end of what it is."""
    return any(
        not _DENIAL.search(sentence, _clause_of(sentence, found.start()), found.end())
        for found in pattern.finditer(sentence)
    )


def _clause_of(sentence: str, place: int) -> int:
    """Where the clause begins that this place lies in."""
    ends = [found.end() for found in _CLAUSE.finditer(sentence) if found.end() <= place]
    return ends[-1] if ends else 0


@cache
def _announcement(names: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What announces by itself, and what does in a sentence of the first person."""
    name = any_of(names).pattern
    said = [
        rf"(?<![\w'’])i(?:['’](?:m|ve|ll|d))?{_GAP}{{0,5}}(?:{_LOOSE})?[\s,]+{name}",
        rf"(?<!\w)(?:call|name|find|found|make|made|consider)(?:s|ed|d)?\s+me{_GAP}{{0,3}}"
        rf"(?:{_LOOSE})?[\s,]+{name}",
        rf"(?<!\w)my(?:\s+(?:own|true|inner|very|pure|dark))*\s+{name}"
        rf"(?=\s+(?:{_SELF})(?!\w)|\s*[.,;:!]|\s*$)",
        rf"{name}\s+(?:as\s+i\s+am|like\s+me|like\s+myself"
        rf"|is\s+my(?:\s+(?:own|true|very|only|whole|greatest|sole))*\s+(?:{_OWN}))(?!\w)",
    ]
    opening = (
        rf"(?:^\W*|[,;:(—–]\s*|(?<!\w)i(?:\s+\w+){{1,2}}\s+)as\s+(?:an?|your)"
        rf"(?:\s+[\w'’-]+)?\s+{name}"
    )
    return (
        re.compile("|".join(f"(?:{each})" for each in said), re.IGNORECASE),
        re.compile(opening, re.IGNORECASE),
    )


def _statements(text: str) -> Iterator[str]:
    """Sentences that ask nothing, without what stands in quotation marks."""
    for sentence in _SENTENCE.split(_QUOTED.sub(" ", text)):
        if sentence and not sentence.rstrip().endswith("?"):
            yield sentence


def exclamations(text: str) -> float | None:
    """Exclamation marks for each 100 words; None without a word."""
    count = length(text)
    return 100.0 * text.count("!") / count if count else None


def repeated(text: str, size: int) -> float | None:
    """Share of the text's n-grams of `size` words that stood in it before; None if it has none."""
    found = words(text)
    grams = [tuple(found[i : i + size]) for i in range(len(found) - size + 1)]
    return 1.0 - len(set(grams)) / len(grams) if grams else None


def type_token(text: str) -> float | None:
    """Different words as a share of all words; falls with length. None without a word."""
    found = words(text)
    return len(set(found)) / len(found) if found else None


def moving_type_token(text: str, window: int) -> float | None:
    """Mean type-token ratio of every `window` words in a row, which length does not move.

    None for a text of fewer words. Source: Covington and McFall 2010, "Cutting the Gordian knot:
    the moving-average type-token ratio".
    """
    found = words(text)
    spans = [found[i : i + window] for i in range(len(found) - window + 1)]
    return sum(len(set(span)) for span in spans) / (len(spans) * window) if spans else None
