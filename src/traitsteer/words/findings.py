"""What a study found, in plain sentences, and how its numbers are written.

Works on records as the stages wrote them: results of evaluate, searches, rows of cross. Nothing is
computed but words; a number that is missing is an en dash, never zero.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

MISSING = "–"
"""What stands where a score or a bound is missing."""


def number(value: float | None, digits: int = 1) -> str:
    """A number with a true minus sign, or the sign for missing."""
    if value is None:
        return MISSING
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def signed(value: float | None, digits: int = 1) -> str:
    """A difference: its sign is always written, except before zero."""
    text = number(value, digits)
    return f"+{text}" if value is not None and float(f"{value:.{digits}f}") > 0 else text


def bounds(interval: Mapping[str, Any] | None, digits: int = 1) -> str:
    """The limits of an interval, in words where it has none."""
    if interval is None:
        return MISSING
    lower, upper = interval["lower"], interval["upper"]
    if lower is None and upper is None:
        return "unbounded"
    if lower is None:
        return f"at most {number(upper, digits)}"
    if upper is None:
        return f"at least {number(lower, digits)}"
    return f"{number(lower, digits)} to {number(upper, digits)}"


Best = Mapping[str, Record | None]
"""For each arm the result that stands for it, or None when nothing was feasible."""


def lead(
    bests: Mapping[str, Best], ratios: Mapping[str, Record | None], cross: Sequence[Record]
) -> list[str]:
    """What the study found; the first sentence stands alone under the title.

    `bests` and `ratios` (natural in percent of instruction) are keyed by trait.
    """
    cells = [(trait, arm, best) for trait, arms in bests.items() for arm, best in arms.items()]
    found = [best for _, _, best in cells if best is not None]
    above = [r for r in found if r["random"] and _lower(r["delta"]) > _upper(r["random"])]
    share = "all" if len(above) == len(cells) > 1 else f"{len(above)} of"
    sentences = [
        f"One vector, added to one layer, raised the trait score beyond what random vectors of "
        f"the same length did in {share} {len(cells)} combinations of trait and arm."
    ]
    for arm in dict.fromkeys(arm for _, arm, _ in cells):
        rows = [r for r in found if r["arm"] == arm]
        if rows:
            deltas, coherence, random = (
                [r[name]["value"] for r in rows if r[name]]
                for name in ("delta", "coherence", "random")
            )
            beside = f"moved it by {_span(random, signed)}" if random else "lack scores"
            sentences.append(
                f"{arm.capitalize()} vectors moved it by {_span(deltas, signed)} points at a mean "
                f"coherence of {_span(coherence, number)}; random vectors at the same layers and "
                f"lengths {beside}."
            )
    nothing = [f"{trait} ({arm})" for trait, arm, best in cells if best is None]
    if nothing:
        sentences.append(f"Nothing feasible was found for {listed(nothing)}.")
    sentences += _parity(ratios)
    others = [row for row in cross if row["vector"] != row["scored"] and row["delta"]]
    if others:
        most = max(others, key=lambda row: abs(row["delta"]["value"]))
        sentences.append(
            f"The largest effect on another trait is {signed(most['delta']['value'])} points: "
            f"{most['scored']} under the {most['arm']} vector of {most['vector']}."
        )
    return sentences


def parity(ratio: Record) -> bool:
    """Whether an interval in percent holds 100, or is unbounded and so excludes nothing."""
    return _lower(ratio) <= 100 <= _upper(ratio)


def peak(best: Record | None, search: Record | None, accuracy: Sequence[float]) -> str:
    """Where an arm's best layer is, what the search saw at both ends, and what was readable there.

    `accuracy` is the held-out accuracy of the arm's vectors by layer: an edge wins where the trait
    can be read there as well as anywhere.
    """
    if best is None or search is None:
        return "nothing feasible at any layer."
    points = best_by_layer(search)
    last = search["layers"] - 1
    place = {0: "the first", last: "the last"}.get(best["layer"], "an inner layer")
    ends = [
        f"{signed(points[layer])} at layer {layer}"
        if layer in points
        else f"nothing feasible at layer {layer}"
        for layer in (0, last)
        if layer != best["layer"]
    ]
    return (
        f"layer {best['layer']} of 0 to {last}, {place}. The search's best feasible delta was "
        f"{signed(points.get(best['layer']))} there, against {' and '.join(ends)}. The vector of "
        f"that layer told {number(100 * accuracy[best['layer']], 0)} % of held-out responses "
        f"apart, the most telling layer ({accuracy.index(max(accuracy))}) "
        f"{number(100 * max(accuracy), 0)} %."
    )


def tokens_of(searches: Sequence[Record]) -> str:
    """What the searches generated, and what they did not have to."""
    generated, pruned, loops = (
        sum(search["tokens"][name] for search in searches)
        for name in ("generated", "saved_by_pruning", "saved_by_loops")
    )
    settings = [trial for search in searches for trial in search["trials"]]
    given_up = sum(trial["status"] == "pruned" for trial in settings)
    return (
        f"The searches tried {len(settings):,} settings and generated {generated:,} tokens. "
        f"{given_up:,} settings were given up after the first questions, which saved about "
        f"{pruned:,} tokens (what was not asked for, at the mean length of the same setting's "
        f"answers); answers that were cut because they repeated themselves saved up to {loops:,}."
    )


def best_by_layer(search: Record) -> dict[int, float]:
    """The highest feasible delta of the trials at each layer; layers with none are left out."""
    best: dict[int, float] = {}
    for trial in search["trials"]:
        if trial["feasible"] and trial["delta"] is not None:
            best[trial["layer"]] = max(trial["delta"], best.get(trial["layer"], -math.inf))
    return dict(sorted(best.items()))


def _parity(ratios: Mapping[str, Record | None]) -> Iterator[str]:
    """One sentence for the traits at parity, and one for each trait that is not."""
    same = [name for name, ratio in ratios.items() if ratio is not None and parity(ratio)]
    if same:
        yield f"Natural and instruction steering are not distinguishable for {listed(same)}."
    for name, ratio in ratios.items():
        if ratio is not None and not parity(ratio):
            side = "less" if ratio["value"] < 100 else "more"
            yield (
                f"For {name} the natural vector moves the score {side}: {number(ratio['value'], 0)}"
                f" % of the instruction vector's delta ({bounds(ratio, 0)} %)."
            )


def _lower(interval: Record) -> float:
    return -math.inf if interval["lower"] is None else float(interval["lower"])


def _upper(interval: Record) -> float:
    return math.inf if interval["upper"] is None else float(interval["upper"])


def _span(values: Sequence[float], form: Callable[[float], str]) -> str:
    low, high = form(min(values)), form(max(values))
    return low if low == high else f"{low} to {high}"


def listed(names: Sequence[str]) -> str:
    """Names in a row: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
