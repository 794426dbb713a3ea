"""What is said of one trait and arm in the tracking store: settings, scores, files and trials.

Turns a finished arm into the record of a run. Reads the activations for their hash, writes nothing.
"""

import os
from collections.abc import Iterator
from typing import Any, get_args

from traitsteer.experiment.finished_arm import FinishedArm, FinishedMethod
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.findings import bounds, number, signed
from traitsteer.words.records import POLARITIES
from traitsteer.words.results import EQUAL_COHERENCE, NULL_KINDS, best_of_arm
from traitsteer.words.runs import Run, Series, Source, Table
from traitsteer.words.scores import Score
from traitsteer.world.dvc_lock import md5

SECTIONS = (
    "models",
    "judge",
    "calibrate",
    "elicit",
    "vet",
    "fit",
    "answers",
    "search",
    "evaluate",
    "cross",
    "voice",
)
SCORES: tuple[Score, ...] = get_args(Score)
# The interface groups a table by its first column and compares the second between runs.
COLUMNS = ("question", "text", *SCORES, "setting", "phase", "sample", "seed")
SERIES = {
    "accuracy": "held_out_accuracy",
    "auroc": "held_out_auroc",
    "largest_share": "largest_share",
    "pair_agreement": "pair_agreement",
    "raw_norm": "raw_norm",
    "seed_cosine": "seed_cosine",
    "split_half_cosine": "split_half_cosine",
}


def describe(config: Config, arm: FinishedArm, hashes: dict[str, str]) -> Run:
    """Return the run of one trait and arm, with one child for each trial and each recount."""
    trait, name = arm.trait.name, arm.name
    best = best_of_arm(method.evaluation for method in arm.methods)
    activations = layout.activations(trait, name)
    tags = {
        "protocol": arm.methods[0].evaluation["protocol"],
        "profile": config.profile,
        "trait": trait,
        "arm": name,
        "status": "nothing feasible" if best is None else "feasible",
        "model.base": config.models.base.name,
        "model.instruct": config.models.instruct.name,
        **{f"software.{package}": number for package, number in arm.software.items()},
        **{f"study.{method.name}": method.search["study"] for method in arm.methods},
        **_hashes_of(trait, name, config.text(name), hashes),
    }
    if arm.equality is not None:
        tags["voice.equality"] = arm.equality
    if experiment := os.environ.get("DVC_EXP_NAME"):
        tags["dvc.experiment"] = experiment
    return Run(
        name=f"{trait} · {name}",
        params=params_of(config, arm)
        | {f"best_{name}": best[name] for name in ("method", "coefficient") if best},
        metrics=_headline(arm, best) | _kept(arm) | _by_method(arm) | _by_layer(arm),
        tags=tags,
        note=_note(arm),
        files={
            f"vectors/{path.name}": path
            for method in arm.methods
            for path in (
                layout.fitted_vectors(trait, name, method.name),
                layout.fit_measures(trait, name, method.name),
            )
        }
        | {"protocol.json": layout.evaluation_terms(trait, name)},
        tables={
            f"{part}_{method.name}.json": table
            for method in arm.methods
            for part, table in _tables(arm, method)
        },
        sources=[
            Source(f"activations {trait} {name}", activations, md5(activations)),
        ],
        children=[child for method in arm.methods for child in _children(trait, name, method)],
    )


def params_of(config: Config, arm: FinishedArm) -> dict[str, object]:
    """Every setting that the run depends on, nested ones under dotted names."""
    sections = {name: getattr(config, name).model_dump(mode="json") for name in SECTIONS}
    return {
        "trait": arm.trait.name,
        "arm": arm.name,
        "profile": config.profile,
        "seed": config.seed,
        "coherence_floor": config.study.coherence_floor,
        **dict(_flat(config.arm(arm.name).model_dump(mode="json"), "")),
        "text": config.text(arm.name),
        **dict(_flat(sections, "")),
    }


def _flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            whole = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield f"{prefix}{key}", whole


def _headline(arm: FinishedArm, best: dict[str, Any] | None) -> dict[str, float | Series | None]:
    """What is seen first when runs are compared: the best method on the report questions."""
    found: dict[str, float | Series | None] = {
        "natural_percent": arm.natural_percent,
        "perplexity_ratio": arm.perplexity_ratio,
        "naturalness": arm.naturalness,
    }
    for name in ("generated", "saved_by_pruning", "saved_by_loops"):
        tokens = sum(method.search["tokens"][name] for method in arm.methods)
        found[f"search_tokens_{name}"] = float(tokens)
    if best is None:
        return found | {"baseline": arm.methods[0].evaluation["baseline"]["value"]}
    fitted = next(m.fitted for m in arm.methods if m.name == best["method"])
    return found | {
        "delta": best["delta"]["value"],
        "delta_p_value": best["p_value"],
        "delta_best_trial": best["first_delta"],
        "delta_recount": best["selection_delta"],
        "delta_shrinkage": best["shrinkage"]["value"],
        **{f"delta_{at}": best[at] and best[at]["delta"]["value"] for at in EQUAL_COHERENCE},
        **{f"null_{kind}_delta": _value(best["nulls"][kind]["pooled"]) for kind in NULL_KINDS},
        "null_shuffled_rank_p": best["nulls"]["shuffled"]["p_value"],
        "missing_scores": best["missing"],
        "prompted_delta": best["prompted"] and best["prompted"]["delta"]["value"],
        "coherent_and_up_percent": best["both"]["value"],
        "delta_lower": best["delta"]["lower"],
        "delta_upper": best["delta"]["upper"],
        "coherence": best["coherence"]["value"],
        "baseline": best["baseline"]["value"],
        "trait_score": best["trait_score"]["value"],
        "layer": best["layer"],
        "strength": best["strength"],
        "held_out_accuracy": fitted["held_out_accuracy"][best["layer"]],
    }


def _value(interval: dict[str, Any] | None) -> float | None:
    return None if interval is None else interval["value"]


def _kept(arm: FinishedArm) -> dict[str, float | Series | None]:
    """How many responses of each polarity the vectors are fitted to."""
    return {name: arm.responses[name] for name in (f"{each}_kept" for each in POLARITIES)}


def _by_method(arm: FinishedArm) -> dict[str, float | Series | None]:
    """Each method's own delta on the report questions; one that found nothing feasible has none."""
    deltas = {m.name: m.evaluation["delta"] for m in arm.methods if m.evaluation["delta"]}
    return {
        f"method_{short}_{name}": delta[long]
        for name, delta in deltas.items()
        for short, long in (
            ("delta", "value"),
            ("delta_lower", "lower"),
            ("delta_upper", "upper"),
        )
    }


def _by_layer(arm: FinishedArm) -> dict[str, float | Series | None]:
    """Reliability over layers, the step being the layer.

    The interface sorts by name; the prefix keeps these below the headline.
    """
    return {
        f"per_layer_{short}_{method.name}": Series(method.fitted[long])
        for method in arm.methods
        for short, long in SERIES.items()
        # No pair may have both sides, and one sample has no other.
        if method.fitted[long] is not None
    }


def _note(arm: FinishedArm) -> str:
    """The run's description: one line a method."""
    lines = [
        "| method | delta | interval | p | coherence | layer | strength | random | shuffled |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for method in arm.methods:
        found = method.evaluation
        if found["status"] != "feasible":
            lines.append(f"| {method.name} | nothing feasible | | | | | | | |")
            continue
        cells = (
            method.name,
            signed(found["delta"]["value"]),
            bounds(found["delta"]),
            number(found["p_value"], 4),
            number(found["coherence"]["value"]),
            str(found["layer"]),
            number(found["strength"], 2),
            signed(_value(found["random"])),
            signed(_value(found["nulls"]["shuffled"]["pooled"])),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _tables(arm: FinishedArm, method: FinishedMethod) -> Iterator[tuple[str, Table]]:
    """Every score of every question: of the report, and of the search."""
    reported = [_row(arm.trait.report, row | {"phase": "report"}) for row in method.answers]
    searched = [
        _row(arm.trait.selection, row | {"setting": _setting(row["trial"])})
        for row in method.scores
    ]
    yield "report_scores", Table(COLUMNS, reported)
    yield "search_scores", Table(COLUMNS, searched)


def _row(questions: tuple[str, ...], row: dict[str, Any]) -> list[Any]:
    return [questions[row["question"]], *(row[name] for name in COLUMNS[1:])]


def _setting(trial: int | None) -> str:
    return "baseline" if trial is None else f"trial {trial}"


def _children(trait: str, arm: str, method: FinishedMethod) -> Iterator[Run]:
    trials = [(trial["phase"], trial) for trial in method.search["trials"]]
    recounts = [("recount", trial) for trial in method.search["recounted"]]
    for phase, trial in trials + recounts:
        params = {name: trial[name] for name in ("layer", "strength", "coefficient")}
        yield Run(
            name=f"{method.name} {trial['number']:03d}{' recount' * (phase == 'recount')}",
            params=params
            | {"trait": trait, "arm": arm, "method": method.name, "phase": phase}
            | {"status": trial["status"], "answers": trial["answers"]},
            metrics={name: trial[name] for name in (*SCORES, "delta", "feasible")},
        )


def _hashes_of(trait: str, arm: str, text: str, hashes: dict[str, str]) -> dict[str, str]:
    outs = {
        "responses": layout.responses(trait, text),
        "verdicts": layout.verdicts(trait, text),
        "activations": layout.activations(trait, arm),
        "vectors": layout.vectors(trait, arm),
        "search": layout.search(trait, arm),
        "evaluation": layout.evaluation(trait, arm),
        "calibration": layout.CALIBRATION,
    }
    return {
        f"dvc.{name}": hashes[path.as_posix()]
        for name, path in outs.items()
        if path.as_posix() in hashes
    }
