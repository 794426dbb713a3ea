"""What a study found, in plain sentences, and how its numbers are written.

Works on records as the stages wrote them: results of evaluate, searches, rows of cross. Nothing is
computed but words; a number that is missing is an en dash, never zero.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from traitsteer.words.results import tried

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


def estimate(
    interval: Record | None,
    unit: str = "",
    digits: int = 1,
    form: Callable[[float, int], str] = number,
    n: bool = False,
) -> str:
    """A value with its limits, and if wanted its n, as running text: 63.1 (56.1 to 70.1)."""
    if interval is None:
        return MISSING
    counted = f", n = {interval['n']}" if n else ""
    return f"{form(interval['value'], digits)}{unit} ({bounds(interval, digits)}{counted})"


def apart(interval: Record, from_: float = 0.0) -> bool:
    """Whether an interval leaves a value out; one without bounds does not."""
    return _lower(interval) > from_ or _upper(interval) < from_


def verdict(difference: Record) -> str:
    """What a difference says of the first beside the second: more, less or not distinguishable."""
    if not apart(difference):
        return "not distinguishable"
    return "more" if _lower(difference) > 0 else "less"


def verdict_among_traits(cell: Record, confidence: float) -> str:
    """The verdict on a trait's difference between the arms, as long as it is one of several traits.

    What is told apart at this confidence by itself, but not among the traits (Holm's p), is said to
    be so, and so is what the permutation test does not tell apart even by itself. `cell` is a row
    of the comparison that has a difference.
    """
    said = verdict(cell["difference"])
    if not apart(cell["difference"]) or cell["p_adjusted"] <= 1 - confidence:
        return said
    if cell["p_value"] > 1 - confidence:
        return "the interval leaves 0 out, the permutation test does not"
    return f"{said} by itself, not among the traits"


def of_instruction(percent: Record | None) -> str:
    """The natural delta in percent of the instruction delta, with its limits.

    For arms that were compared: there it is missing for one reason alone.
    """
    if percent is None:
        return f"{MISSING} % of instruction, whose delta is not above 0"
    said = f"{number(percent['value'], 0)} % of instruction"
    if percent["lower"] is None and percent["upper"] is None:
        return f"{said} without bounds, since the instruction delta cannot be told from 0"
    return f"{said} ({bounds(percent, 0)} %)"


Best = Mapping[str, Record | None]
"""For each arm the result that stands for it, or None when nothing was feasible."""


def lead(bests: Mapping[str, Best], cross: Sequence[Record], floor: float) -> list[str]:
    """What the study found; the first sentence stands alone under the title.

    `bests` is keyed by trait; the floor is that of the mean coherence.
    """
    cells = [(trait, arm, best) for trait, arms in bests.items() for arm, best in arms.items()]
    found = [best for _, _, best in cells if best is not None]
    above = [r for r in found if _above_random(r)]
    fewest = min((len(r["random_each"]) for r in found), default=0)
    share = "all" if len(above) == len(cells) > 1 else f"{len(above)} of"
    sentences = [
        f"One vector, added to one layer, raised the trait score beyond what random vectors of "
        f"the same norm did in {share} {len(cells)} combinations of trait and arm"
        + (f" ({fewest} of them in each: by chance 1 of {fewest + 1})." if fewest else ".")
    ]
    for arm in dict.fromkeys(arm for _, arm, _ in cells):
        rows = [r for r in found if r["arm"] == arm]
        if rows:
            deltas, coherence, random = (
                [r[name]["value"] for r in rows if r[name]]
                for name in ("delta", "coherence", "random")
            )
            beside = f"moved it by {_span(random, signed)}" if random else "lack scores"
            did = "raised" if min(deltas) > 0 else "moved"
            sentences.append(
                f"{arm.capitalize()} vectors {did} it by {_span(deltas, signed)} points at a mean "
                f"coherence of {_span(coherence, number)}; random vectors at the same layers and "
                f"norms {beside}."
            )
    sentences += _below_the_floor(cells, floor)
    nothing = [f"{trait} ({arm})" for trait, arm, best in cells if best is None]
    if nothing:
        sentences.append(f"Nothing feasible was found for {listed(nothing)}.")
    others = [row for row in cross if row["vector"] != row["scored"] and row["delta"]]
    if others:
        most = max(others, key=lambda row: abs(row["delta"]["value"]))
        sentences.append(
            f"The largest of {len(others)} effects on another trait is "
            f"{estimate(most['delta'], form=signed)} points (its interval is not adjusted for "
            f"picking the largest): {most['scored']} under the {most['arm']} vector of "
            f"{most['vector']}."
        )
    return sentences


def _below_the_floor(
    cells: Sequence[tuple[str, str, Record | None]], floor: float
) -> Iterator[str]:
    """Which best vectors fell below the floor on the report questions, or may have."""
    scored = [(f"{trait} ({arm}, ", best) for trait, arm, best in cells if best is not None]
    coherent = [(cell, r) for cell, r in scored if r["coherence"]["value"] >= floor]
    if sunk := [
        f"{cell}{number(r['coherence']['value'])})"
        for cell, r in scored
        if r["coherence"]["value"] < floor
    ]:
        yield (
            "On the report questions the mean coherence fell below the floor of "
            f"{number(floor, 0)}: {listed(sunk)}."
        )
    if unsure := [
        f"{cell}{estimate(r['coherence'])})"
        for cell, r in coherent
        if _lower(r["coherence"]) < floor
    ]:
        yield f"The interval of the mean coherence reaches below the floor for {listed(unsure)}."
    if lost := [
        f"{cell}{number(r['coherence_at_worst'])})"
        for cell, r in coherent
        if r["coherence_at_worst"] < floor
    ]:
        yield (
            "If the answers without a score were incoherent, the mean coherence would lie below "
            f"the floor for {listed(lost)}."
        )


def _above_random(best: Record) -> bool:
    """Whether a vector did more than its random ones, all of them together and each alone."""
    if not best["random"] or _lower(best["delta"]) <= _upper(best["random"]):
        return False
    delta: float = best["delta"]["value"]
    return all(each["delta"] < delta for each in best["random_each"])


def nothing_feasible(searches: Sequence[Record]) -> str:
    """Why searches found nothing feasible, as their trials and recounts tell."""
    trials = [trial for search in searches for trial in tried(search)]
    recounts = [trial for search in searches for trial in search["recounted"]]
    shown = recounts or trials
    lacking = sum(trial["status"] == "failed" for trial in shown)
    what = "settings that were recounted" if recounts else "settings"
    if lacking == len(shown):
        return f"each of the {lacking} {what} lacked too many scores"
    safely = " safely" if recounts else ""
    lost = f"; {lacking} lacked too many scores" if lacking else ""
    return f"none of the {len(shown)} {what} kept its coherence{safely} at the floor{lost}"


def peak(best: Record, search: Record, accuracy: Sequence[float]) -> str:
    """Where an arm's best layer is, what the search saw at both ends, and what was readable there.

    `accuracy` is the held-out accuracy of the arm's vectors by layer: an edge wins where the trait
    can be read there as well as anywhere.
    """
    points = best_by_layer(search)
    layer, last = best["layer"], search["layers"] - 1
    place = {0: "the first", last: "the last"}.get(layer, "an inner layer")
    ends = [_end(search, end) for end in (0, last) if end != layer]
    beside = f", against {' and '.join(ends)}" if ends else ""
    most = max(accuracy)
    there = (
        ", as many as any other layer's" * (last > 0)
        if accuracy[layer] == most
        else f", the most telling layer ({accuracy.index(most)}) {number(100 * most, 0)} %"
    )
    return (
        f"layer {layer} of 0 to {last}, {place if last else 'the only one'}. The search's best "
        f"feasible delta was {signed(points.get(layer))} there{beside}. The vector of that layer "
        f"told {number(100 * accuracy[layer], 0)} % of held-out responses apart{there}."
    )


def _end(search: Record, layer: int) -> str:
    """What the search saw at one layer."""
    points = best_by_layer(search)
    statuses = {trial["status"] for trial in search["trials"] if trial["layer"] == layer}
    if layer in points:
        seen = signed(points[layer])
    elif not statuses:
        seen = "nothing tried"
    else:
        seen = "no score" if statuses == {"failed"} else "nothing feasible"
    return f"{seen} at layer {layer}"


def tokens_of(searches: Sequence[Record]) -> str:
    """What the searches generated, and what they did not have to."""
    generated, pruned, loops = (
        sum(search["tokens"][name] for search in searches)
        for name in ("generated", "saved_by_pruning", "saved_by_loops")
    )
    settings = [trial for search in searches for trial in tried(search)]
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
