"""What a study's evidence answers, one sentence a question: nulls, arms, luck, factors.

Works on records as the stages wrote them; nothing is computed but words and means of what is shown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from traitsteer.words.factor_findings import NOT_RUN, explanation
from traitsteer.words.findings import (
    MISSING,
    Best,
    estimate,
    listed,
    number,
    of_instruction,
    signed,
    verdict,
    verdict_among_traits,
)

Record = Mapping[str, Any]

BEST_OF_ALL = "best of all"
"""Each arm's best against the other's."""

COMPARED = ("instruction", "natural")
"""The arms that are held against each other, whatever others a study has."""

_BESIDE = {
    "more": "",
    "less": "have a higher delta than the vector",
    "not distinguishable": "cannot be told from the vector",
}
"""What is said of null vectors, by the verdict on the vector's delta minus theirs."""


def beats_nulls(bests: Mapping[str, Best]) -> str:
    """Does each vector beat its nulls? A null family is beaten when the whole interval of the
    vector's delta minus the family's lies above 0, and no single one of it does as much.

    The interval is over questions and tells nothing of how null vectors differ from each other.
    """
    cells = _cells(bests)
    if not cells:
        return "Nothing feasible was found, so there is nothing to hold against null vectors."
    said: dict[str, list[str]] = {}
    for trait, arm, best in cells:
        for kind, family in best["nulls"].items():
            found = _beside(family)
            said.setdefault(found, []).append(f"the {kind} vectors of {trait} ({arm})")
    greatest = _largest_null(cells)
    kinds = listed(list(cells[0][2]["nulls"]))
    said.pop("", None)
    if not said:
        largest = max(best["p_value"] for *_, best in cells)
        return (
            f"Every best vector beats its nulls ({kinds}, of the same norm at the same layer): its "
            "delta lies above the mean of each family with the whole interval of the difference, "
            f"and no single null vector does as much. {greatest} The largest permutation p-value "
            f"of a delta, held against unsteered answers, is {number(largest, 4)}."
        )
    short = "; ".join(f"{listed(names)} {found}" for found, names in said.items())
    return f"Not every best vector beats its nulls ({kinds}): {short}. {greatest}"


def _beside(family: Record) -> str:
    """What is said of a family of null vectors; nothing where it is beaten."""
    if not family["difference"]:
        return "lack scores"
    said = _BESIDE[verdict(family["difference"])]
    # The rank p-value is 1 / (1 + nulls) where no null does as much.
    among = 1 + len(family["each"])
    as_much = round(family["p_value"] * among) - 1
    if said or not as_much:
        return said
    return f"hold {as_much} of {among - 1} with a delta as high as the vector's"


def _largest_null(cells: Sequence[tuple[str, str, Record]]) -> str:
    found = [
        (each["delta"], kind, trait, arm, best)
        for trait, arm, best in cells
        for kind, family in best["nulls"].items()
        for each in family["each"]
    ]
    if not found:
        return "No single null vector has a delta."
    delta, kind, trait, arm, best = max(found, key=lambda one: one[0])
    return (
        f"The largest delta of a single null vector is {signed(delta)} ({kind}, {trait}, {arm}, "
        f"whose own vector has {signed(best['delta']['value'])})."
    )


def arms_differ(
    comparisons: Sequence[Record], budgets: Mapping[str, Record], confidence: float
) -> list[str]:
    """Is natural different from instruction? Empty where one of them is no arm.

    With one method in both first, which compares like with like; then at each arm's best. What is
    told apart at this confidence by itself, but not among as many traits, is said to be so.
    """
    if not comparisons:
        return []
    told = [(row["trait"], cells_told(row, budgets)) for row in comparisons]
    counts = listed([f"{arm} from {len(budgets[arm]['methods'])}" for arm in COMPARED])
    said = []
    for name in dict.fromkeys(name for _, cells in told for name in cells):
        cells = [(trait, cells[name]) for trait, cells in told if name in cells]
        how = f"{name}, chosen of the methods that each had ({counts})"
        what = how if name == BEST_OF_ALL else f"the {name} in both"
        said.append(f"Natural minus instruction, {what}: {_differences(cells, confidence)}.")
    return [
        *said,
        "Intervals and p-values (Holm's, over the traits) are over questions and hold for these "
        "vectors: another draw of responses, or another search, may come out otherwise.",
    ]


def cells_told(row: Record, budgets: Mapping[str, Record]) -> dict[str, Record]:
    """The differences of a trait to tell, by name: those of one method in both arms, then that of
    each arm's best where they had unequally many to choose from, or none that is feasible in both.
    """
    told = {cell["method"].replace("_", " "): cell for cell in row["like_for_like"]}
    alone = row["difference"] and not any(cell["difference"] for cell in told.values())
    if not told or alone or unequal_terms({arm: budgets[arm] for arm in COMPARED}):
        told[BEST_OF_ALL] = row
    return told


def _differences(cells: Sequence[tuple[str, Record]], confidence: float) -> str:
    return "; ".join(
        f"{trait} {estimate(cell['difference'], ' points', form=signed)}, "
        f"{verdict_among_traits(cell, confidence)} (p = {number(cell['p_adjusted'], 4)}), "
        f"{of_instruction(cell['natural_percent'])}"
        if cell["difference"]
        else f"not computed for {trait}"
        for trait, cell in cells
    )


def luck(bests: Mapping[str, Best]) -> str | None:
    """How much of the apparent best was luck? None where nothing feasible was found.

    What looked best is the feasible trial of the largest delta, whichever setting it was of.
    """
    cells = [best for _, _, best in _cells(bests) if best["first_delta"] is not None]
    if not cells:
        return None
    first, selected, reported = (
        sum(values) / len(cells)
        for values in (
            [best["first_delta"] for best in cells],
            [best["selection_delta"] for best in cells],
            [best["delta"]["value"] for best in cells],
        )
    )
    lost = first - reported
    verdict = (
        f"{number(lost)} points of the first were luck, came of other questions, or were given up "
        "to keep clear of the floor"
        if lost > 0
        else "nothing of the first was lost"
    )
    return (
        f"Over {len(cells)} searches the largest delta of a feasible trial was {signed(first)} on "
        f"average, that of the chosen setting {signed(selected)} when recounted, and "
        f"{signed(reported)} on questions that took no part in the choice: {verdict}. "
        f"{_seen_from([best['shrinkage'] for best in cells])}"
    )


def _seen_from(shrinkages: Sequence[Record]) -> str:
    """How many choices shrank after their recount, beside what could have been seen."""
    bounded = [one for one in shrinkages if one["lower"] is not None]
    if not bounded:
        return "What a single choice lost cannot be told from chance."
    real = sum(one["lower"] > 0 for one in bounded)
    half = sum(one["value"] - one["lower"] for one in bounded) / len(bounded)
    return (
        f"After its recount {real} of {len(bounded)} choices lost more than chance alone takes, "
        f"which shows only from about {number(half)} points on."
    )


def factor_sentences(factorial: Record | None, none_since: str = NOT_RUN) -> list[str]:
    """Which factor explains the difference between the two original arms? One that stands out for
    each trait in the factorial study, or why none does: as the arms are, and with one method in
    both. Without that study, what there is to be said of it, such as `of_another`.
    """
    if factorial is None:
        return [
            "Which factor explains the difference is asked by a study of its own, which "
            f"{none_since}: make factorial."
        ]
    first = "In the factorial study, which has a protocol and a budget of its own:"
    return [first, *(_by_trait(one) for one in factorial["traits"])]


def _by_trait(one: Record) -> str:
    trait = one["trait"].replace("_", " ").capitalize()
    if one["nothing_feasible"]:
        return f"{trait}: some cells found nothing feasible, so no factor's part is computed."
    return f"{trait}: {'; '.join(map(_difference, one['decompositions']))}."


def _difference(decomposition: Record) -> str:
    ends = [
        f"{end['arm']} ({end['method'].replace('_', ' ')})"
        for end in (decomposition["from"], decomposition["to"])
    ]
    return (
        f"from {' to '.join(ends)} delta changes by "
        f"{estimate(decomposition['whole'], form=signed)}, and {explanation(decomposition)}"
    )


def unequal_terms(budgets: Mapping[str, Record]) -> str | None:
    """What is said where arms had not equally many methods to choose from; else None."""
    counts = {arm: len(budget["methods"]) for arm, budget in budgets.items()}
    if len(set(counts.values())) < 2:
        return None
    most = max(counts.values())
    first = [arm for arm, count in counts.items() if count == most]
    fewer = [f"{arm} {count}" for arm, count in counts.items() if count < most]
    whose = "its" if len(first) == 1 else "their"
    return (
        f"The arms had the same search space and budget for each method, but {listed(first)} had "
        f"{most} methods to choose from ({listed(fewer)}), so that {whose} best of all is picked "
        "from more candidates; a fair comparison is that of one method."
    )


def attempts(here: int, elsewhere: int) -> str:
    """How often a cell was searched, as the ledger counts; in brackets on its model elsewhere."""
    if here + elsewhere == 0:
        return MISSING
    return f"{here} (+{elsewhere})" if elsewhere else str(here)


def _cells(bests: Mapping[str, Best]) -> list[tuple[str, str, Record]]:
    return [
        (trait, arm, best)
        for trait, arms in bests.items()
        for arm, best in arms.items()
        if best is not None
    ]
