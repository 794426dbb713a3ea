"""What a factorial study found, as Markdown: one table a question, and what would make it false.

Works on reports/factorial.json; nothing is computed but words.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from traitsteer.words.findings import estimate, number, signed

Record = Mapping[str, Any]


def tables(found: Record) -> str:
    """Every table with its reading, under headings."""
    return "\n\n".join(
        [
            _head(found),
            *_section("Delta of every cell", _cells(found), _CELLS),
            *_section("From one arm to the other", _decompositions(found), _PARTS),
            *_section("Effects over all cells", _effects(found), _effects_reading(found)),
            *_section("Share of the variance", _variance(found), _VARIANCE),
            *_section("Likeness of the vectors", _cosines(found), _COSINES),
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
    "unbounded where the whole cannot be told from 0. **What would make it false:** interactions "
    "as large as the parts, for then what a factor adds depends on what was switched before it, "
    "and no share is its own; or the same study with another seed giving parts of another sign."
)
_VARIANCE = (
    "Eta squared of a balanced analysis of variance, in percent of the sum of squares over cells "
    "and questions. *Questions* is how differently questions can be moved, *rest* what differs "
    "from cell to cell and question to question. **What would make it false:** a factor whose "
    "share is no larger than that of the higher interactions, for those are mostly luck."
)
_COSINES = (
    "Mean cosine of two cells that differ in this factor alone, at one layer for all cells of a "
    "trait. *Halves* is the mean cosine of two vectors of one cell, each from half of its "
    "responses. **What would make it false:** a factor's cosine no lower than that of the halves, "
    "for then the vectors differ by no more than a draw of responses does."
)


def _effects_reading(found: Record) -> str:
    margins = [
        f"{_who(one)} {number(one['margin'])}"
        for one in _complete(found)
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
        "of another sign."
    )


def _head(found: Record) -> str:
    factors = "; ".join(
        f"**{one['name']}** {' or '.join(map(_words, one['levels']))}" for one in found["factors"]
    )
    lines = [
        f"Profile `{found['profile']}`: {len(found['cells'])} cells a trait, every combination of "
        f"{factors}. {found['trials']} settings searched for each cell, {found['samples']} answers "
        f"to each report question; {100 * found['confidence']:g} % intervals over questions."
    ]
    for one in found["traits"]:
        if one["nothing_feasible"]:
            names = ", ".join(_name(cell) for cell in one["nothing_feasible"])
            lines.append(
                f"Nothing feasible was found for {one['trait']} in {names}: its effects and parts "
                "are not computed."
            )
    lines += [
        f"From {_name(each['from'])} to {_name(each['to'])} the delta of {_who(one)} changes by "
        f"{_estimate(each['whole'])} points; the largest part is that of {_largest(each)}."
        for one in _complete(found)[-1:]
        for each in one["decompositions"]
    ]
    return "\n\n".join(lines)


def _largest(decomposition: Record) -> str:
    part = max(decomposition["parts"], key=lambda part: abs(part["part"]["value"]))
    return f"{part['factor']}, {_estimate(part['part'])}"


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
    complete = _complete(found)
    rows = [["switched", *(_who(one) for one in complete)]]
    for number_of, first in enumerate(complete[0]["decompositions"] if complete else ()):
        several = [one["decompositions"][number_of] for one in complete]
        title = f"**{_name(first['from'])} to {_name(first['to'])}**"
        rows.append([title, *(f"**{_estimate(each['whole'])}**" for each in several)])
        for place, part in enumerate(first["parts"]):
            shown = (each["parts"][place] for each in several)
            rows.append([part["factor"], *map(_part, shown)])
    return rows


def _part(part: Record) -> str:
    percent = part["percent"]
    share = "" if percent is None else f"; {estimate(percent, ' %', 0)}"
    return f"{_estimate(part['part'])}{share}"


def _effects(found: Record) -> list[list[str]]:
    complete = _complete(found)
    rows = [["effect", *(_who(one) for one in complete)]]
    for place, first in enumerate(complete[0]["effects"] if complete else ()):
        shown = (_estimate(one["effects"][place]["effect"]) for one in complete)
        rows.append([" x ".join(first["factors"]), *shown])
    return rows


def _variance(found: Record) -> list[list[str]]:
    complete = [one for one in _complete(found) if one["variance"]]
    rows = [["of", *(_who(one) for one in complete)]]
    merged = [_merged(one["variance"]) for one in complete]
    for name in merged[0] if merged else ():
        rows.append([name, *(f"{number(100 * shares[name])} %" for shares in merged)])
    return rows


def _merged(variance: Sequence[Record]) -> dict[str, float]:
    """Main effects and pairs by name; interactions of three and more factors as one."""
    shares: dict[str, float] = {}
    for row in variance:
        name = row["of"] if row["of"].count(" x ") < 2 else "higher interactions"
        shares[name] = shares.get(name, 0.0) + row["share"]
    return shares


def _cosines(found: Record) -> list[list[str]]:
    known = [one for one in found["traits"] if one["cosine"]]
    rows = [["switched", *(f"{one['trait']}, layer {one['cosine']['layer']}" for one in known)]]
    for place, factor in enumerate(found["factors"]):
        shown = (number(one["cosine"]["switched"][place]["cosine"], 2) for one in known)
        rows.append([factor["name"], *shown])
    return [*rows, ["halves", *(number(one["cosine"]["split_half"], 2) for one in known)]]


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


def _complete(found: Record) -> list[Record]:
    """The analyses that were computed: of each whole trait, then of all together."""
    whole = [one for one in found["traits"] if not one["nothing_feasible"]]
    return [*whole, found["all"]] if found["all"] else whole


def _who(one: Record) -> str:
    return str(one.get("trait", "all traits"))


def _name(cell: Record) -> str:
    return f"{cell['arm']}, {_words(cell['method'])}"


def _words(level: str) -> str:
    return level.replace("_", " ")


def _estimate(interval: Record | None) -> str:
    return estimate(interval, form=signed)
