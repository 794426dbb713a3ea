"""Whether the arms sound different at equal trait score, in plain sentences.

Works on the rows of data/voice.json. A difference is named where its interval leaves 0 out.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from traitsteer.words.findings import bounds, listed, number, signed

Record = Mapping[str, Any]

_WORDED = {
    "exclamations": ("exclamation marks for each 100 words", 1),
    "repeated": ("% of repeated word sequences", 1),
    "moving_type_token": ("% of different words among neighbouring ones", 1),
    "words": ("words", 1),
}
"""Measures without a judge that a sentence counts: their unit and digits."""


def voice_lead(rows: Sequence[Record]) -> str:
    """What the judge found more natural, for the traits whose scores could be made equal."""
    asked = [row for row in rows if row["preference"] is not None and _equal(row)]
    if not asked:
        return "How the arms sound at equal trait score could not be compared for any trait."
    sides: dict[str, list[str]] = {"natural": [], "instruction": [], "neither": []}
    for row in asked:
        share = number(row["preference"]["natural"]["value"], 0)
        sides[_preferred(row)].append(f"{row['trait']} ({share} %)")
    said = [
        f"preferred neither arm for {listed(names)}"
        if arm == "neither"
        else f"found the {arm} answers more natural for {listed(names)}"
        for arm, names in sides.items()
        if names
    ]
    return (
        f"At equal trait score the judge {' and '.join(said)}; in brackets the share of pairs in "
        "which the natural answer won, 50 % being no preference."
    )


def voice_sentences(row: Record) -> list[str]:
    """What one trait's answers sound like, in the order: equal, judge, without a judge, missing."""
    trait = row["trait"]
    if row["status"] != "compared":
        arms = listed(row["without"])
        why = {
            "nothing feasible": f"no feasible setting was found for {arms}",
            "trait not raised": f"{arms} steering did not raise the trait score",
        }[row["status"]]
        return [f"For {trait} the arms' voices were not compared: {why}."]
    return [_equality(row), *_judged(row), *_counted(row), *_unmeasured(row)]


def what_would_make_it_false(rows: Sequence[Record]) -> str:
    """The sentence under the figure."""
    first = [row["preference"]["first"]["value"] for row in rows if row["preference"] is not None]
    order = (
        f" (what was shown first won {_span(first)} % of the time; 50 is no bias)" if first else ""
    )
    return (
        "This would be wrong if the arms' trait scores still differed where they are not shown to "
        f"be equal, if the order of showing decided the judge's choice{order}, or if answers "
        "sounded less natural because they are broken and not because they are performed, which "
        "the coherence beside it tells."
    )


def _equality(row: Record) -> str:
    equality, arms = row["equality"], row["arms"]
    difference = equality["difference"]
    verdict = {
        "shown": f"equal within {number(equality['within'], 0)} points",
        "near": f"within {number(equality['within'], 0)} points of each other, though equality is "
        "not shown",
        "not reached": "not equal, so that what follows may come of the score",
    }[equality["verdict"]]
    natural, instruction = (
        number(arms[arm]["trait_score"]["value"]) for arm in ("natural", "instruction")
    )
    return (
        f"For {row['trait']} the trait scores were {natural} (natural) and {instruction} "
        "(instruction): "
        f"{verdict} (difference {signed(difference['value'])}, {bounds(difference)})."
    )


def _judged(row: Record) -> Iterator[str]:
    preference, naturalness = row["preference"], row["measures"]["naturalness"]
    if preference is not None:
        share = preference["natural"]
        lost = f"; {preference['missing']} pairs lack a verdict" if preference["missing"] else ""
        yield (
            f"The judge preferred the natural answer in {number(share['value'])} % of pairs "
            f"({bounds(share)}; 50 is no preference{lost})."
        )
    if naturalness is not None:
        difference = naturalness["difference"]
        yield (
            f"Naturalness was {number(naturalness['natural']['value'])} for natural and "
            f"{number(naturalness['instruction']['value'])} for instruction steering (difference "
            f"{signed(difference['value'])}, {bounds(difference)}), "
            f"{number(naturalness['baseline']['value'])} without steering."
        )

    coherence = row["measures"]["coherence"]
    if coherence is not None and apart(coherence["difference"]):
        more = "more" if coherence["difference"]["value"] > 0 else "less"
        natural, instruction = (
            number(coherence[arm]["value"]) for arm in ("natural", "instruction")
        )
        yield f"Natural answers were {more} coherent ({natural} against {instruction})."


def _counted(row: Record) -> Iterator[str]:
    measures = row["measures"]
    told = measures["announced"]
    if told is not None:
        yield (
            f"The answers named the trait as their own in {number(told['natural']['value'])} % "
            f"(natural) and {number(told['instruction']['value'])} % (instruction)."
        )
    found = [
        f"{number(m['natural']['value'], digits)} against "
        f"{number(m['instruction']['value'], digits)} {unit}"
        for name, (unit, digits) in _WORDED.items()
        if (m := measures[name]) is not None and apart(m["difference"])
    ]
    if found:
        yield (
            "Counted without a judge, natural answers differed, each count taken alone: "
            f"{listed(found)}."
        )
    else:
        yield "Counted without a judge, the arms' wording was not distinguishable."


def _unmeasured(row: Record) -> Iterator[str]:
    for name, reason in row["not_measured"].items():
        yield f"The {name.replace('_', ' ')} was not measured: {reason}."


def apart(difference: Record, from_: float = 0.0) -> bool:
    """Whether an interval leaves a value out; one without bounds does not."""
    lower, upper = difference["lower"], difference["upper"]
    return lower is not None and upper is not None and bool(from_ < lower or from_ > upper)


def _preferred(row: Record) -> str:
    share = row["preference"]["natural"]
    if not apart(share, 50.0):
        return "neither"
    return "natural" if share["value"] > 50 else "instruction"


def _equal(row: Record) -> bool:
    return bool(row["equality"]["verdict"] != "not reached")


def _span(values: Sequence[float]) -> str:
    low, high = number(min(values), 0), number(max(values), 0)
    return low if low == high else f"{low} to {high}"
