"""What a factorial study found, as Markdown: one table a question, and what would make it false.

Works on reports/factorial.json; nothing is computed but words.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from traitsteer.words.factor_findings import computed, explanation, falsifiers, merged, who
from traitsteer.words.findings import estimate, listed, number, signed

Record = Mapping[str, Any]


def tables(found: Record) -> str:
    """Every table with its reading, under headings."""
    met = falsifiers(found)
    return "\n\n".join(
        [
            _head(found),
            *_section("Delta of every cell", _cells(found), f"{_CELLS} {met['cells']}"),
            *_section(
                "From one arm to the other", _decompositions(found), _parts_reading(found, met)
            ),
            *_section("Effects over all cells", _effects(found), _effects_reading(found)),
            *_section("Share of the variance", _variance(found), f"{_VARIANCE} {met['variance']}"),
            *_section("Likeness of the vectors", _cosines(found), _cosines_reading(met)),
        ]
    )


_CELLS = (
    "The delta in points at each cell's own best layer and strength, with its interval; in "
    "brackets the mean coherence. **What would make it false:** a delta no larger than "
    "that of random vectors of the same norm in its evaluation."
)
_PARTS = (
    "A factor's part is what it adds when it is switched, averaged over all orders of switching "
    "(Shapley), so that the parts sum to the whole difference; percent is its share of that, "
    "unbounded where the whole cannot be told from 0. In square brackets the margin of luck: how "
    "large the whole, or a part, would be by the luck of its cells alone."
)
_PARTS_FALSE = (
    "**What would make it false:** the same study with another seed giving parts of another sign, "
    "which one study cannot tell; or a factor with an interaction as large as its part, for then "
    "what it adds depends on what was switched before it, and no share is its own."
)
_VARIANCE = (
    "Eta squared of a balanced analysis of variance, in percent of the sum of squares over cells "
    "and questions. *Questions* is how differently questions can be moved, *rest* what differs "
    "from cell to cell and question to question. **What would make it false:** a factor whose "
    "share is no larger than that of all higher interactions, for those are mostly luck."
)
_COSINES = (
    "Mean cosine of two cells that differ in this factor alone, at one layer for all cells of a "
    "trait. *Halves* is the mean cosine of two vectors of one cell, each from half of its "
    "responses; *second draw* is what follows for two vectors that are each fitted to as many "
    "responses as a cell has (Spearman and Brown: 2r / (1 + r)). Only cells of different text "
    "have different responses; the others share theirs, so that no draw lies between them and "
    "their cosine cannot be held against a second draw."
)


def _parts_reading(found: Record, met: Mapping[str, str]) -> str:
    return f"{_PARTS}{_beside_an_effect(found)} {_PARTS_FALSE} {met['parts']}"


def _beside_an_effect(found: Record) -> str:
    """How much wider the margins of wholes and parts are than that of an effect: for all traits
    the same, since it follows from the design.
    """
    one = next((one for one in computed(found) if one["margin"]), None)
    if one is None:
        return ""
    ways = one["decompositions"]
    whole = number(ways[0]["margin"] / one["margin"], 2)
    parts = [
        f"{number(each['parts'][0]['margin'] / one['margin'], 2)} times for each of "
        f"{len(each['parts'])} parts"
        for each in ways
    ]
    return f" It is {whole} times that of an effect for the whole, {listed(parts)}."


def _cosines_reading(met: Mapping[str, str]) -> str:
    if not met["draws"]:
        return _COSINES
    return (
        f"{_COSINES} **What would make it false:** a cosine of *text* no lower than that of a "
        "second draw, for then the texts differ by no more than a draw of responses does: "
        f"{met['draws']}"
    )


def _effects_reading(found: Record) -> str:
    margins = [
        f"{who(one, found)} {number(one['margin'])}"
        for one in computed(found)
        if one["margin"] is not None
    ]
    luck = (
        f" An effect smaller than the margin may be a cell's luck in its one search, which no "
        f"question shows: {', '.join(margins)} points, from the interactions of three and more "
        "factors."
        if margins
        else ""
    )
    return (
        "Mean of all cells at the second level minus the mean at the first; of two factors, half "
        "of what one's effect gains when the other is switched. Intervals are over questions."
        f"{luck} **What would make it false:** the same study with another seed giving an effect "
        "of another sign, which one study cannot tell."
    )


def _head(found: Record) -> str:
    factors = "; ".join(
        f"**{one['name']}** {' or '.join(map(_words, one['levels']))}" for one in found["factors"]
    )
    lines = [
        f"Profile `{found['profile']}`: {len(found['cells'])} cells a trait, every combination of "
        f"{factors}. At most {found['trials']} settings searched for each cell, {found['samples']} "
        f"answers to each report question; {100 * found['confidence']:g} % intervals over "
        "questions."
    ]
    for one in found["traits"]:
        if one["nothing_feasible"]:
            names = ", ".join(_name(cell) for cell in one["nothing_feasible"])
            lines.append(
                f"Nothing feasible was found for {one['trait']} in {names}: its effects and parts "
                "are not computed."
            )
    lines += [
        f"From {_name(each['from'])} to {_name(each['to'])} the delta of {who(one, found)} changes "
        f"by {_estimate(each['whole'])} points, and {explanation(each)}."
        for one in computed(found)[-1:]
        for each in one["decompositions"]
    ]
    return "\n\n".join(lines)


def _cells(found: Record) -> list[list[str]]:
    names = [factor["name"] for factor in found["factors"]]
    rows = [["arm", *names, *(one["trait"] for one in found["traits"])]]
    for place, cell in enumerate(found["cells"]):
        shown = []
        for one in found["traits"]:
            row = one["cells"][place]
            shown.append(
                "nothing feasible"
                if row["delta"] is None
                else f"{_estimate(row['delta'])} [{number(row['coherence']['value'], 0)}]"
            )
        levels = (_words(cell["levels"][name]) for name in names)
        rows.append([cell["arm"], *levels, *shown])
    return rows


def _decompositions(found: Record) -> list[list[str]]:
    complete = computed(found)
    rows = [["switched", *(who(one, found) for one in complete)]]
    for number_of, first in enumerate(complete[0]["decompositions"] if complete else ()):
        several = [one["decompositions"][number_of] for one in complete]
        title = f"**{_name(first['from'])} to {_name(first['to'])}**"
        rows.append([title, *(f"**{_estimate(each['whole'])}**{_luck(each)}" for each in several)])
        for place, part in enumerate(first["parts"]):
            shown = (each["parts"][place] for each in several)
            rows.append([part["factor"], *map(_part, shown)])
    return rows


def _part(part: Record) -> str:
    percent = part["percent"]
    share = "" if percent is None else f"; {estimate(percent, ' %', 0)}"
    return f"{_estimate(part['part'])}{_luck(part)}{share}"


def _luck(contrast: Record) -> str:
    """The margin of a contrast, where there is one."""
    return "" if contrast["margin"] is None else f" [{number(contrast['margin'])}]"


def _effects(found: Record) -> list[list[str]]:
    complete = computed(found)
    rows = [["effect", *(who(one, found) for one in complete)]]
    for place, first in enumerate(complete[0]["effects"] if complete else ()):
        shown = (_estimate(one["effects"][place]["effect"]) for one in complete)
        rows.append([" x ".join(first["factors"]), *shown])
    return rows


def _variance(found: Record) -> list[list[str]]:
    complete = [one for one in computed(found) if one["variance"]]
    rows = [["of", *(who(one, found) for one in complete)]]
    several = [merged(one["variance"]) for one in complete]
    for name in several[0] if several else ():
        rows.append([name, *(f"{number(100 * shares[name])} %" for shares in several)])
    return rows


def _cosines(found: Record) -> list[list[str]]:
    known = [one for one in found["traits"] if one["cosine"]]
    rows = [["switched", *(f"{one['trait']}, layer {one['cosine']['layer']}" for one in known)]]
    for place, factor in enumerate(found["factors"]):
        shown = (number(one["cosine"]["switched"][place]["cosine"], 2) for one in known)
        rows.append([factor["name"], *shown])
    for title, name in (("halves", "split_half"), ("second draw", "second_draw")):
        rows.append([title, *(number(one["cosine"][name], 2) for one in known)])
    return rows


def _section(title: str, rows: Sequence[Sequence[str]], reading: str) -> Iterator[str]:
    if len(rows) > 1 and len(rows[0]) > 1:
        yield f"### {title}"
        yield _markdown(rows)
        yield reading


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns are padded, so that it can be read on a terminal too."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pad: Callable[[Sequence[str]], str] = lambda row: (  # noqa: E731
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
    )
    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([pad(rows[0]), rule, *map(pad, rows[1:])])


def _name(cell: Record) -> str:
    return f"{cell['arm']}, {_words(cell['method'])}"


def _words(level: str) -> str:
    return level.replace("_", " ")


def _estimate(interval: Record | None) -> str:
    return estimate(interval, form=signed)
