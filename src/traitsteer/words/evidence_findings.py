"""What a study's evidence answers, one sentence a question: nulls, arms, luck, factors.

Works on records as the stages wrote them; nothing is computed but words and means of what is shown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from traitsteer.words.findings import MISSING, Best, bounds, listed, number, signed

Record = Mapping[str, Any]


def beats_nulls(bests: Mapping[str, Best]) -> str:
    """Does each vector beat its nulls? A null family is beaten when the whole interval of the
    vector's delta minus the family's lies above 0.
    """
    cells = _cells(bests)
    if not cells:
        return "Nothing feasible was found, so there is nothing to hold against null vectors."
    short, greatest = [], 0.0
    for trait, arm, best in cells:
        families = best["nulls"]
        for kind, family in families.items():
            if family["difference"] is None:
                short.append(f"{trait} ({arm}) its {kind} vectors, which lack scores,")
                continue
            lower = family["difference"]["lower"]
            if lower is None or lower <= 0:
                short.append(f"{trait} ({arm}) its {kind} vectors")
            greatest = max([greatest, *(each["delta"] for each in family["each"])])
    kinds = listed(list(cells[0][2]["nulls"]))
    least = max(best["p_value"] for _, _, best in cells)
    if not short:
        return (
            f"Every best vector beats its nulls ({kinds}, of the same length at the same layer): "
            f"the largest null delta is {signed(greatest)}, and the largest permutation p-value of "
            f"a delta is {number(least, 4)}."
        )
    return (
        f"Not every best vector beats its nulls ({kinds}): {listed(short)} cannot be told from it; "
        f"the largest null delta is {signed(greatest)}."
    )


def arms_differ(comparisons: Sequence[Record]) -> str:
    """Is natural different from instruction, at each arm's best?"""
    said = []
    for row in comparisons:
        difference = row["difference"]
        if difference is None:
            said.append(f"not computed for {row['trait']}")
            continue
        lower, upper = difference["lower"], difference["upper"]
        same = lower is None or upper is None or lower <= 0 <= upper
        verdict = "not distinguishable" if same else "more" if lower > 0 else "less"
        said.append(
            f"{row['trait']} {signed(difference['value'])} points ({bounds(difference)}), {verdict}"
        )
    return f"Natural minus instruction, best against best: {'; '.join(said)}." if said else ""


def luck(bests: Mapping[str, Best]) -> str:
    """How much of the apparent best was luck?"""
    cells = [best for _, _, best in _cells(bests)]
    if not cells:
        return ""
    first, selected, reported = (
        sum(values) / len(cells)
        for values in (
            [best["first_delta"] for best in cells],
            [best["selection_delta"] for best in cells],
            [best["delta"]["value"] for best in cells],
        )
    )
    real = [best for best in cells if (best["shrinkage"]["lower"] or 0) > 0]
    clear = f"{len(real)} of {len(cells)} shrank by more than chance allows"
    lost = first - reported
    verdict = (
        f"{number(lost)} points of the first score were luck or other questions"
        if lost > 0
        else "nothing of the first score was lost"
    )
    return (
        f"Over {len(cells)} best settings the mean delta was {signed(first)} when they were first "
        f"tried, {signed(selected)} when recounted, and {signed(reported)} on questions that took "
        f"no part in the choice: {verdict}; {clear}."
    )


def factor_sentences(factorial: Record | None) -> list[str]:
    """Which factor explains the difference between the founding arms? The largest part of each
    trait, in the factorial study.
    """
    if factorial is None:
        return [
            "Which factor explains the difference is asked by a study of its own, which was not "
            "run for this profile: make factorial."
        ]
    return [_largest_part(one) for one in factorial["traits"]]


def _largest_part(one: Record) -> str:
    trait = one["trait"]
    if one["nothing_feasible"]:
        return f"For {trait} some cells found nothing feasible, so no factor's part is computed."
    # The last one holds the method fixed, which both arms have in common.
    decomposition = one["decompositions"][-1]
    part = max(decomposition["parts"], key=lambda part: abs(part["part"]["value"]))
    whole, share = decomposition["whole"], part["part"]
    lower, upper = share["lower"], share["upper"]
    clear = lower is not None and upper is not None and not lower <= 0 <= upper
    return (
        f"{trait}: instruction to natural changes delta by {signed(whole['value'])} "
        f"({bounds(whole)}); the largest part is that of {part['factor']}, "
        f"{signed(share['value'])} ({bounds(share)})"
        f"{'' if clear else ', which cannot be told from none'}."
    )


def unequal_terms(budgets: Mapping[str, Record]) -> str | None:
    """What is said where arms had not equally many methods to choose from; else None."""
    counts = {arm: len(budget["methods"]) for arm, budget in budgets.items()}
    if len(set(counts.values())) < 2:
        return None
    most = max(counts, key=lambda arm: counts[arm])
    return (
        f"The arms had the same search space and budget for each method, but {most} had "
        f"{counts[most]} methods to choose from "
        f"({listed([f'{arm} {count}' for arm, count in counts.items() if arm != most])}): its best "
        "of all is the best of more draws, and only cells of one method compare like with like."
    )


def attempts(here: int, elsewhere: int) -> str:
    """How often a cell was searched, as the ledger counts; in brackets under other protocols."""
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
