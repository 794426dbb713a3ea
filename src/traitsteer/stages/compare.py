"""compare: the two arms under one protocol, with intervals.

Reads evaluations, vectors and protocols; writes reports/comparison.json, the flat metrics that
`dvc metrics` shows and the tables that `dvc plots` draws.
"""

import csv
import io
from typing import Any

from torch import Tensor

from traitsteer.maths.statistics import cosine, ratio_interval
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.protocol import protocol_hash
from traitsteer.words.results import best_of_arm
from traitsteer.world import tensors
from traitsteer.world.files import read_json, read_jsonl, write_json, write_text


def run(config: Config) -> None:
    """Collect every result, then compare the natural arm with the instruction arm per trait."""
    results = {
        (trait, arm): [
            read_json(layout.evaluation(trait, arm) / f"{method}.json")
            for method in config.arm(arm).methods
        ]
        for trait in config.study.traits
        for arm in config.study.arms
    }
    terms = {trait: _protocol_of(trait, results) for trait in config.study.traits}
    comparison = {
        "protocol": protocol_hash(terms),
        "profile": config.profile,
        "models": {"base": config.models.base.name, "instruct": config.models.instruct.name},
        "results": [_result(found) for rows in results.values() for found in rows],
        "comparisons": [
            _comparison(config, trait, results)
            for trait in config.study.traits
            if {"instruction", "natural"} <= set(config.study.arms)
        ],
    }
    write_json(layout.COMPARISON, comparison)
    write_json(layout.METRICS, flat_metrics(comparison))
    write_text(layout.PLOTS / "frontier.csv", _frontier(config))


def _protocol_of(trait: str, results: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    found = {r["protocol"] for (name, _), rows in results.items() if name == trait for r in rows}
    if len(found) != 1:
        raise TraitsteerError(
            f"The results of {trait} come from {len(found)} protocols, expected one; run "
            "`dvc repro` so that all of them are made under the same terms."
        )
    return str(found.pop())


def _result(found: dict[str, Any]) -> dict[str, Any]:
    names = ("trait", "arm", "method", "layer", "strength", "coefficient", "baseline")
    intervals = ("trait_score", "delta", "coherence", "random")
    result = {name: found[name] for name in (*names, *intervals)}
    result["baseline"] = found["baseline"]["value"]
    result["trait_score"] = found["trait_score"] and found["trait_score"]["value"]
    return result


def _comparison(
    config: Config, trait: str, results: dict[tuple[str, str], list[dict[str, Any]]]
) -> dict[str, Any]:
    """Natural against instruction: each arm's best method, as chosen on the selection questions.

    A share of a delta of exactly 0 does not exist: natural_percent is then null.
    """
    best = {arm: best_of_arm(results[trait, arm]) for arm in ("natural", "instruction")}
    natural, instruction = best["natural"], best["instruction"]
    if natural is None or instruction is None:
        nothing = {"natural_percent": None, "cosine_best": None, "cosine_by_layer": None}
        return {"trait": trait, **nothing}
    vectors = {arm: _vectors(trait, arm, found["method"]) for arm, found in best.items() if found}
    percent = None
    if instruction["delta"]["value"] != 0:
        percent = ratio_interval(
            _deltas(natural), _deltas(instruction), config.evaluate.confidence
        ).rounded()
    chosen = cosine(
        vectors["natural"][natural["layer"]], vectors["instruction"][instruction["layer"]]
    )
    by_layer = cosine(vectors["natural"], vectors["instruction"])
    return {
        "trait": trait,
        "natural_percent": percent,
        "cosine_best": round(float(chosen), 6),
        "cosine_by_layer": [round(value, 6) for value in by_layer.tolist()],
    }


def _vectors(trait: str, arm: str, method: str) -> Tensor:
    path = layout.vectors(trait, arm) / f"{method}.safetensors"
    return tensors.read(path, {"trait": trait, "arm": arm, "method": method}).tensors["vectors"]


def _deltas(found: dict[str, Any]) -> dict[str, list[float | None]]:
    """Steered minus baseline for every question and sample; missing where either is missing."""
    folder = layout.evaluation(found["trait"], found["arm"])
    rows = read_jsonl(folder / f"{found['method']}.answers.jsonl")
    score = {(row["setting"], row["question"], row["sample"]): row["trait_score"] for row in rows}
    deltas: dict[str, list[float | None]] = {}
    for (setting, question, sample), steered in score.items():
        if setting == "steered":
            before = score["baseline", question, sample]
            whole = steered is not None and before is not None
            deltas.setdefault(str(question), []).append(steered - before if whole else None)
    return deltas


def flat_metrics(comparison: dict[str, Any]) -> dict[str, float]:
    """One number a key, as `dvc exp show` reads best; what is missing has no key."""
    metrics: dict[str, float] = {}
    for row in comparison["results"]:
        key = f"{row['trait']}.{row['arm']}.{row['method']}"
        for name in ("delta", "coherence", "random"):
            if row[name] is not None:
                metrics[f"{key}.{name}"] = row[name]["value"]
        if row["delta"] is not None:
            metrics[f"{key}.delta_lower"] = row["delta"]["lower"]
            metrics[f"{key}.strength"] = row["strength"]
            metrics[f"{key}.layer"] = row["layer"]
    for row in comparison["comparisons"]:
        if row["natural_percent"] is not None:
            metrics[f"{row['trait']}.natural_percent"] = row["natural_percent"]["value"]
            metrics[f"{row['trait']}.cosine_best"] = row["cosine_best"]
    return metrics


def _frontier(config: Config) -> str:
    """Every trial of every study as CSV, for `dvc plots`."""
    columns = ("trait", "arm", "method", "layer", "strength", "delta", "coherence", "feasible")
    text = io.StringIO()
    table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for trait in config.study.traits:
        for arm in config.study.arms:
            for method in config.arm(arm).methods:
                found = read_json(layout.search(trait, arm) / f"{method}.json")
                for trial in found["trials"]:
                    table.writerow({"trait": trait, "arm": arm, "method": method} | trial)
    return text.getvalue()
