"""What a study found, in plain sentences, and how its numbers are written.

Works on records as the stages wrote them: results of evaluate, searches, rows of cross. Nothing is
computed but words; a number that is missing is an en dash, never zero.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
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


def lead(traits: Sequence[TraitFiles], cross: Sequence[Record]) -> list[str]:
    """What the study found, in plain sentences; the first one stands alone under the title."""
    cells = [(files.name, arm, best) for files in traits for arm, best in files.best.items()]
    found = [best for _, _, best in cells if best is not None]
    above = [r for r in found if _lower(r["delta"]) > _upper(r["random"])]
    whole = "all" if len(above) == len(cells) else f"{len(above)} of"
    sentences = [
        f"One vector, added to one layer, moved the trait score beyond what random vectors of the "
        f"same length did in {whole} {len(cells)} combinations of trait and arm."
    ]
    for arm in dict.fromkeys(arm for _, arm, _ in cells):
        deltas = [r["delta"]["value"] for r in found if r["arm"] == arm]
        if deltas:
            sentences.append(
                f"{arm.capitalize()} vectors moved it by {_span(deltas)} points, at a mean "
                f"coherence of {_plain([r['coherence']['value'] for r in found if r['arm'] == arm])}"
                f" of 100; random vectors at the same layers by "
                f"{_span([r['random']['value'] for r in found if r['arm'] == arm])}."
            )
    nothing = [f"{trait} ({arm})" for trait, arm, best in cells if best is None]
    if nothing:
        sentences.append(f"Nothing feasible was found for {_list(nothing)}.")
    sentences += _parity(traits)
    others = [row for row in cross if row["vector"] != row["scored"]]
    if others:
        most = max(others, key=lambda row: abs(row["delta"]["value"]))
        sentences.append(
            f"The largest effect on another trait is {signed(most['delta']['value'])} points, on "
            f"{most['scored']} under the {most['arm']} vector of {most['vector']}."
        )
    return sentences


def parity(ratio: Record) -> bool:
    """Whether an interval in percent holds 100, or is unbounded and so excludes nothing."""
    return _lower(ratio) <= 100 <= _upper(ratio)


def _peaks(files: TraitFiles) -> Iterator[str]:
    """Where each arm's best layer is, and what the search saw at both ends of the network."""
    for arm, best in files.best.items():
        if best is None:
            yield f"{arm.capitalize()}: nothing feasible, so there is no best layer."
            continue
        search = files.search(best)
        points = search_plots.best_by_layer(search)
        last = search["layers"] - 1
        place = {0: "the first layer", last: "the last layer"}.get(best["layer"], "an inner layer")
        ends = [
            f"{signed(points.get(layer))} at layer {layer}"
            if layer in points
            else f"nothing feasible at layer {layer}"
            for layer in (0, last)
        ]
        yield (
            f"{arm.capitalize()}: layer {best['layer']} of 0 to {last}, {place}. Best feasible "
            f"deltas of the search: {signed(points.get(best['layer']))} there, {' and '.join(ends)}."
        )


def best_by_layer(search: Record) -> dict[int, float]:
    """The highest feasible delta of the trials at each layer; layers with none are left out."""
    best: dict[int, float] = {}
    for trial in search["trials"]:
        if trial["feasible"] and trial["delta"] is not None:
            best[trial["layer"]] = max(trial["delta"], best.get(trial["layer"], -math.inf))
    return dict(sorted(best.items()))


def _parity(traits: Sequence[TraitFiles]) -> Iterator[str]:
    """One sentence for the traits at parity, and one for each trait that is not."""
    ratios = [(files.name, files.comparison["natural_percent"]) for files in traits]
    same = [name for name, ratio in ratios if ratio is not None and parity(ratio)]
    if same:
        yield f"Natural and instruction steering are not distinguishable for {_list(same)}."
    for name, ratio in ratios:
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


def _span(values: Sequence[float]) -> str:
    low, high = signed(min(values)), signed(max(values))
    return low if low == high else f"{low} to {high}"


def _plain(values: Sequence[float]) -> str:
    low, high = number(min(values), 0), number(max(values), 0)
    return low if low == high else f"{low} to {high}"


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
