"""The card of a judge's audit, as Markdown that also reads well on a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from traitsteer.words.findings import MISSING, bounds, number

Record = Mapping[str, Any]

SCORES = {"trait_score": "trait", "coherence": "coherence"}
MEASURES = {
    "pearson": "Pearson",
    "spearman": "Spearman",
    "mean_absolute_difference": "mean absolute difference",
    "weighted_kappa": "quadratic weighted kappa",
}
MOST_WRONG = 60
"""Wrong items that the card names; the JSON file holds them all."""


def card(found: Record) -> str:
    """Return the card of what the audit found."""
    judge, asked = found["judge"], found["retest"]["asked_again"]
    lines = [
        f"# Audit of the judge {judge['name']} ({judge['kind']})",
        "",
        f"{found['items_asked']} answers whose scores are known beforehand, from "
        f"{found['traps']['folder']}; each asked once, {asked} times again and once with white "
        "space added. Right: every score that something is expected of lies within its bounds. "
        f"Intervals are Wilson's at {100 * found['confidence']:g} %.",
        "",
        "| trap | items | right | interval | trait right | coherence right | missing |",
        "|---|---|---|---|---|---|---|",
        *(_row(row["trap"], row) for row in found["by_trap"]),
        "",
        "| trait | items | right | interval | trait right | coherence right | missing |",
        "|---|---|---|---|---|---|---|",
        *(_row(row["trait"], row) for row in found["by_trait"]),
        "",
        f"Of all judgements asked for: {_states(found['states'])}.",
        "",
        "## Asked again",
        "",
        "Points of 100. Deviation: the mean over items of the standard deviation of one item's "
        "scores; white space: the mean change of the score.",
        "",
        "| score | deviation | greatest | white space | most |",
        "|---|---|---|---|---|",
        *_retest(found["retest"]),
        *_beside(found["against"]),
        "",
        *_wrong(found["items"]),
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, row: Record) -> str:
    right = row["right"]
    cells = (
        name,
        str(row["items"]),
        _percent(right),
        f"{number(100 * right['lower'], 0)} to {number(100 * right['upper'], 0)} %",
        _percent(row["trait_right"]),
        _percent(row["coherence_right"]),
        str(row["missing"]),
    )
    return f"| {' | '.join(cells)} |"


def _percent(share: Record | None) -> str:
    return MISSING if share is None else f"{number(100 * share['value'], 0)} %"


def _states(states: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items())


def _retest(found: Record) -> Iterator[str]:
    for name, said in SCORES.items():
        cells = [said, *(number(value, 2) for value in found[name].values())]
        yield f"| {' | '.join(cells)} |"


def _beside(against: Record | None) -> Iterator[str]:
    if against is None:
        return
    judge = against["judge"]
    yield from (
        "",
        f"## Beside {judge['name']} ({judge['kind']})",
        "",
        f"It is right on {_percent(against['right'])} of the items and gave no score for "
        f"{against['missing']}. Kappa is over ten classes of ten points; intervals are the "
        "bootstrap's over items.",
        "",
        f"| score | items | {' | '.join(MEASURES.values())} |",
        "|---" * (2 + len(MEASURES)) + "|",
    )
    for name, said in SCORES.items():
        measures = [against["agreement"][name][key] for key in MEASURES]
        counts = {str(each["n"]) for each in measures if each is not None}
        cells = [said, "".join(counts) or MISSING, *map(_measure, measures)]
        yield f"| {' | '.join(cells)} |"


def _measure(interval: Record | None) -> str:
    if interval is None:
        return MISSING
    return f"{number(interval['value'], 2)} ({bounds(interval, 2)})"


def _wrong(items: Sequence[Record]) -> Iterator[str]:
    wrong = [item for item in items if not item["right"]]
    if not items:
        return
    yield f"## Wrong: {len(wrong)} of {len(items)}"
    if not wrong:
        return
    yield from (
        "",
        "| trait | trap | trait score | expected | coherence | expected | answer |",
        "|---|---|---|---|---|---|---|",
    )
    for item in wrong[:MOST_WRONG]:
        cells = [item["trait"], item["trap"]]
        for name in SCORES:
            expected = item["expected"][name]
            span = "any" if expected is None else f"{expected[0]:.0f} to {expected[1]:.0f}"
            cells += [number(item[name], 0), span]
        yield f"| {' | '.join([*cells, _beginning(item['answer'])])} |"
    if len(wrong) > MOST_WRONG:
        yield f"\n{len(wrong) - MOST_WRONG} more are in the JSON file beside this card."


def _beginning(text: str, most: int = 60) -> str:
    plain = " ".join(text.split()).replace("|", "/")
    return (plain if len(plain) <= most else f"{plain[:most].rstrip()}…") or "(nothing)"
