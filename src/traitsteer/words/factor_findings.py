"""What a factorial study says in one sentence each: which factor explains a difference, and which
of the conditions that would make its tables false are met.

Works on reports/factorial.json; nothing is computed but words and means of what is shown.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from traitsteer.words.findings import apart, estimate, listed, number, signed
from traitsteer.words.protocol import first_difference, short

Record = Mapping[str, Any]

NOT_RUN = "was not run for this profile"
"""What is said of a factorial study that is not there; a clause, as `of_another` gives."""


def of_another(found: Record, of: Record) -> str | None:
    """Why a factorial study cannot stand on the page of a study; None where it can.

    Args:
        of: the models, the judge, the floor and the texts of the study of the page, which have to
            be those that the factorial study says it is of. The page may have more traits.

    Returns:
        A clause whose subject is the factorial study.
    """
    if "texts" not in found.get("of", ()):
        return (
            "is not shown, since reports/factorial.json does not say of which models and texts it "
            "is"
        )
    theirs, own = ({k: v for k, v in each.items() if k != "texts"} for each in (found["of"], of))
    if differing := first_difference(theirs, own):
        field, there, here = differing
        return (
            f"is not shown, since reports/factorial.json has {short(there)} for {field} and this "
            f"study has {short(here)}"
        )
    texts: Mapping[str, str] = found["of"]["texts"]
    if unknown := [trait for trait in texts if trait not in of["texts"]]:
        return (
            f"is not shown, since reports/factorial.json has {listed(unknown)} and this study has "
            "not"
        )
    if others := [trait for trait, text in texts.items() if text != of["texts"][trait]]:
        return (
            f"is not shown, since reports/factorial.json is of another rubric, contrast pair or "
            f"question of {listed(others)} than this study has"
        )
    return None


def explanation(decomposition: Record) -> str:
    """Which factor explains a difference, or why none can be named; a clause that follows "and".

    A factor is named where the whole difference, the largest part, and what this part is ahead of
    the next are all real (`_real`), and the part has the sign of the whole.
    """
    whole = decomposition["whole"]
    if not apart(whole):
        return "no factor can be named, since the whole cannot be told from 0"
    if not _real(whole, decomposition["margin"]):
        return (
            "no factor can be named, since the luck of two cells alone may make the whole as large "
            f"as {number(decomposition['margin'])}"
        )
    first = max(decomposition["parts"], key=lambda part: abs(part["part"]["value"]))
    largest = f"that of {first['factor']}, {estimate(first['part'], form=signed)}"
    if (first["part"]["value"] > 0) != (whole["value"] > 0):
        return f"no factor can be named, since the largest part, {largest}, goes the other way"
    if not _real(first["part"], first["margin"]):
        return f"no factor can be named, since not even the largest part, {largest}, stands out"
    ahead = decomposition["ahead"]
    if ahead and not _real(ahead["by"], ahead["margin"]):
        return (
            f"no factor can be named, since the largest part, {largest}, is not clearly ahead of "
            f"the next, that of {ahead['of']}"
        )
    return f"the part that stands out is {largest}"


def falsifiers(found: Record) -> dict[str, str]:
    """What would make each table or figure false, looked for: one line for each name.

    `cells`, `parts` and `variance` name cells or factors; `draws` and `text` tell of the vectors
    and are empty where no two texts or no vectors are compared.
    """
    complete = computed(found)
    return {
        "cells": _met((one["trait"], _no_more_than_random(one)) for one in found["traits"])
        + _not_known((one["trait"], _without_random(one)) for one in found["traits"]),
        "parts": _met((who(one, found), _dependent(one)) for one in complete),
        "variance": _met((who(one, found), _no_more_than_luck(one)) for one in complete)
        + _not_known((who(one, found), _without_luck(one)) for one in complete),
        "draws": _told(_draws(one) for one in found["traits"]),
        "text": _told(_within_texts(found, one) for one in found["traits"]),
    }


def computed(found: Record) -> list[Record]:
    """The analyses that were computed: of each whole trait, then of all together."""
    whole = [one for one in found["traits"] if not one["nothing_feasible"]]
    return [*whole, found["all"]] if found["all"] else whole


def who(one: Record, found: Record) -> str:
    """Whose analysis it is; that of several traits holds those whose every cell is feasible."""
    if "trait" in one:
        return str(one["trait"])
    held, asked = len(one["traits"]), len(found["traits"])
    return "all traits" if held == asked else f"{held} of {asked} traits"


def merged(variance: Sequence[Record]) -> dict[str, float]:
    """Shares of main effects and pairs by name; interactions of three and more factors as one."""
    shares: dict[str, float] = {}
    for row in variance:
        name = row["of"] if row["of"].count(" x ") < 2 else "higher interactions"
        shares[name] = shares.get(name, 0.0) + row["share"]
    return shares


def _real(interval: Record, margin: float | None) -> bool:
    """Whether a contrast leaves 0 out of its interval and passes the luck of its cells.

    Where answers by question were not at hand (n is 0), the margin alone decides.
    """
    if interval["n"] == 0:
        return margin is not None and abs(interval["value"]) > margin
    return apart(interval) and (margin is None or abs(interval["value"]) > margin)


def _met(by: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Who meets a condition, and with what."""
    each = list(by)
    if not each:
        return "Not looked for: no trait has a feasible setting in every cell."
    if not any(names for _, names in each):
        return "Met by none."
    said = (f"{name}: {listed(names) if names else 'none'}" for name, names in each)
    return f"Met by {'; '.join(said)}."


def _not_known(by: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Of whom a condition could not be looked for, a sentence to follow; empty where of nobody."""
    said = "; ".join(f"{name}: {listed(names)}" for name, names in by if names)
    return f" Not known of {said}." if said else ""


def _told(by: Iterable[tuple[str, str, bool | None] | None]) -> str:
    """What was compared for each trait, and whether the condition is met."""
    said = [
        f"{trait} {values}, {_MET[met]}"
        for trait, values, met in (one for one in by if one is not None)
    ]
    return f"{'; '.join(said)}." if said else ""


_MET = {True: "met", False: "not met", None: "not told"}


def _no_more_than_random(one: Record) -> list[str]:
    """The cells whose delta has an interval that reaches down to that of their random vectors."""
    return [
        _named(cell)
        for cell in one["cells"]
        if cell["delta"] and cell["random"] and not _above(cell["delta"], cell["random"])
    ]


def _without_random(one: Record) -> list[str]:
    """The cells with a delta whose random vectors have none, since their scores are missing."""
    return [_named(cell) for cell in one["cells"] if cell["delta"] and not cell["random"]]


def _named(cell: Record) -> str:
    return f"{cell['arm']} ({cell['method'].replace('_', ' ')})"


def _above(interval: Record, other: Record) -> bool:
    """Whether an interval lies above another; one without the limit that counts does not."""
    limits = interval["lower"], other["upper"]
    return None not in limits and limits[0] > limits[1]


def _dependent(one: Record) -> list[str]:
    """The factors with an interaction of two at least as large as their part of the whole."""
    pairs = [effect for effect in one["effects"] if len(effect["factors"]) == 2]
    return [
        part["factor"]
        for part in one["decompositions"][0]["parts"]
        if any(
            abs(pair["effect"]["value"]) >= abs(part["part"]["value"])
            for pair in pairs
            if part["factor"] in pair["factors"]
        )
    ]


def _no_more_than_luck(one: Record) -> list[str]:
    """The factors whose share of the variance is no larger than that of the higher interactions."""
    shares = merged(one["variance"] or ())
    luck = shares.get("higher interactions")
    if luck is None:
        return []
    return [factor for factor in _factors(one) if shares[factor] <= luck]


def _without_luck(one: Record) -> list[str]:
    """All factors, where no higher interaction is there to hold their shares against."""
    return [] if "higher interactions" in merged(one["variance"] or ()) else _factors(one)


def _factors(one: Record) -> list[str]:
    return [effect["factors"][0] for effect in one["effects"] if len(effect["factors"]) == 1]


def _draws(one: Record) -> tuple[str, str, bool | None] | None:
    """The likeness of two texts beside that of two draws of one text, where halves foretell it."""
    if not one["cosine"]:
        return None
    switched = {row["factor"]: row["cosine"] for row in one["cosine"]["switched"]}
    if "text" not in switched:
        return None
    texts, draws = switched["text"], one["cosine"]["second_draw"]
    met = None if draws is None else texts >= draws
    return one["trait"], f"{number(texts, 2)} beside {number(draws, 2)}", met


def _within_texts(found: Record, one: Record) -> tuple[str, str, bool] | None:
    """The likeness of cells that share a text beside that of cells that do not."""
    texts = [cell["levels"].get("text") for cell in found["cells"]]
    if not one["cosine"] or len(set(texts)) < 2:
        return None
    matrix = one["cosine"]["matrix"]
    shared: dict[bool, list[float]] = {True: [], False: []}
    for a, b in combinations(range(len(texts)), 2):
        shared[texts[a] == texts[b]].append(matrix[a][b])
    if not shared[True]:
        return None
    within, between = fmean(shared[True]), fmean(shared[False])
    return one["trait"], f"{number(within, 2)} beside {number(between, 2)}", within <= between
