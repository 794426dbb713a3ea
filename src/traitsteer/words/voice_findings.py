"""Whether the arms sound different at equal trait score, in plain sentences.

Works on the rows of data/voice.json. A difference is named where its interval leaves 0 out and its
permutation test tells it from 0 at the same confidence.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from traitsteer.words.findings import apart, bounds, listed, number, signed

Record = Mapping[str, Any]

_WORDED = {
    "exclamations": "exclamation marks for each 100 words",
    "repeated": "% of repeated word sequences",
    "moving_type_token": "% of different words among neighbouring ones",
    "words": "words",
}
"""Measures of wording without a judge, with their units."""

_NAMED = {
    "announced": "share of answers that name the trait as their own",
    "exclaimed": "share of answers with an exclamation mark",
    "exclamations": "count of exclamation marks",
    "repeated": "share of repeated word sequences",
    "type_token": "share of different words",
    "moving_type_token": "share of different words among neighbouring ones",
    "words": "length of answers",
}
"""What a measure is called in a sentence where its own name does not say it."""

_EQUAL = {"shown": "equal", "near": "near-equal"}
"""How the arms' trait scores are called, by the verdict on their equality."""


def at_equal_score(row: Record) -> bool:
    """Whether a trait's arms were compared, and their trait scores equal or near-equal."""
    return row["equality"] is not None and row["equality"]["verdict"] in _EQUAL


def voice_lead(rows: Sequence[Record], confidence: float) -> str | None:
    """What the judge found more natural, for the traits whose scores could be made equal.

    `confidence` is that of the intervals. None in a study without both arms, which has no rows.
    """
    if not rows:
        return None
    equal = [row for row in rows if at_equal_score(row)]
    asked = [row for row in equal if row["preference"] is not None]
    if not equal:
        return "How the arms sound at equal trait score could not be compared for any trait."
    if not asked:
        return (
            "Which arm sounds more natural at equal trait score cannot be told for any trait: too "
            "many of the judge's verdicts are missing."
        )
    sides: dict[str, list[str]] = {"natural": [], "instruction": [], "neither": []}
    for row in asked:
        share = row["preference"]["natural"]
        sides[_preferred(row, confidence)].append(
            f"{row['trait']} ({number(share['value'], 0)} %, {bounds(share, 0)})"
        )
    said = [
        f"preferred neither arm for {listed(names)}"
        if arm == "neither"
        else f"found the {arm} answers more natural for {listed(names)}"
        for arm, names in sides.items()
        if names
    ]
    verdicts = {row["equality"]["verdict"] for row in asked}
    level = " or ".join(word for name, word in _EQUAL.items() if name in verdicts)
    alone = ", each trait taken alone" if len(asked) > 1 else ""
    return (
        f"At {level} trait score the judge {' and '.join(said)}{alone}; in brackets how often the "
        "natural answer won, each pair being shown in both orders and a tie counting half; 50 % is "
        "no preference."
    )


def voice_sentences(row: Record, confidence: float) -> list[str]:
    """What one trait's answers sound like, in the order: equal, judge, without a judge, missing.

    `confidence` is that of the intervals.
    """
    trait = row["trait"]
    if row["status"] != "compared":
        arms = listed(row["without"])
        why = {
            "nothing feasible": f"no feasible setting was found for {arms}",
            "trait not raised": f"{arms} steering did not raise the trait score",
        }[row["status"]]
        return [f"For {trait} the arms' voices were not compared: {why}."]
    return [
        _equality(row),
        *_judged(row, confidence),
        *_counted(row, confidence),
        *_unmeasured(row),
    ]


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
        "shown": f"equal within {equality['within']:g} points",
        "near": f"within {equality['within']:g} points of each other, though equality is not shown",
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


def _judged(row: Record, confidence: float) -> Iterator[str]:
    preference, naturalness = row["preference"], row["measures"]["naturalness"]
    if preference is not None:
        share = preference["natural"]
        lost = f"; {preference['missing']} pairs lack a verdict" if preference["missing"] else ""
        yield (
            f"Shown both ways round, the natural answer won {number(share['value'])} % of the time "
            f"({bounds(share)}; a tie counts half, 50 is no preference{lost}): of the pairs it won "
            f"{preference['won']} and lost {preference['lost']}, and {preference['even']} were "
            "even, among them those whose two orders contradict each other."
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
    if coherence is not None and _told_apart(coherence, confidence):
        more = "more" if coherence["difference"]["value"] > 0 else "less"
        yield f"Natural answers were {more} coherent: {_against(coherence, '')}."


def _counted(row: Record, confidence: float) -> Iterator[str]:
    measures = row["measures"]
    told = measures["announced"]
    if told is not None:
        verdict = "" if _told_apart(told, confidence) else ", not distinguishable"
        yield (
            "Counted without a judge, the share of natural answers that named the trait as their "
            f"own was {_against(told, '%')}{verdict}."
        )
    known = {name: unit for name, unit in _WORDED.items() if measures[name] is not None}
    found = [
        _against(measures[name], unit)
        for name, unit in known.items()
        if _told_apart(measures[name], confidence)
    ]
    if found:
        yield (
            "In the counts of wording natural answers differed, each count taken alone: "
            f"{listed(found)}."
        )
    elif known:
        yield "In the counts of wording the arms were not distinguishable."


def _against(measure: Record, unit: str) -> str:
    """A measure of the natural answers beside that of the instruction answers."""
    natural, instruction = (number(measure[arm]["value"]) for arm in ("natural", "instruction"))
    return (
        f"{natural} against {instruction} {unit}".rstrip()
        + f" (difference {signed(measure['difference']['value'])}, {bounds(measure['difference'])})"
    )


def _unmeasured(row: Record) -> Iterator[str]:
    for name, reason in row["not_measured"].items():
        yield f"The {_NAMED.get(name, name)} was not measured: {reason}."


def _preferred(row: Record, confidence: float) -> str:
    preference = row["preference"]
    share = preference["natural"]
    if not apart(share, 50.0) or preference["p_value"] > 1 - confidence:
        return "neither"
    return "natural" if share["value"] > 50 else "instruction"


def _told_apart(measure: Record, confidence: float) -> bool:
    """Whether a measure differs between the arms, by its interval and by its permutation test."""
    return apart(measure["difference"]) and measure["p_value"] <= 1 - confidence


def _span(values: Sequence[float]) -> str:
    low, high = number(min(values), 0), number(max(values), 0)
    return low if low == high else f"{low} to {high}"
