"""compare: the arms under one protocol, with intervals.

Reads evaluations with their terms, searches, vectors and what the models are; writes
reports/comparison.json, the flat metrics that `dvc metrics` shows and the tables that `dvc plots`
draws. Results that were made under different protocols never share a table.
"""

import csv
import io
from typing import Any

from traitsteer.experiment.pairing import pairing
from traitsteer.experiment.results import read_results
from traitsteer.maths.permutation import holm
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.protocol import FrozenTerms, refuse_difference, shared_terms
from traitsteer.words.results import best_of_arm, tried
from traitsteer.world.files import digest, read_json, write_json, write_text
from traitsteer.world.terms_file import read_terms

Results = dict[tuple[str, str], list[dict[str, Any]]]
"""Results of every method by trait and arm."""


def run(config: Config) -> None:
    """Collect every result, then compare the natural arm with the instruction arm per trait.

    Raises:
        TraitsteerError: results were made under different protocols; the first field in which
            they differ is named.
    """
    results = {
        (trait, arm): read_results(config, trait, arm)
        for trait in config.study.traits
        for arm in config.study.arms
    }
    protocols, terms = _protocols(results)
    comparison = {
        "protocols": protocols,
        "profile": config.profile,
        "models": {"base": config.models.base.name, "instruct": config.models.instruct.name},
        "judge": {name: terms["judge"][name] for name in ("kind", "name")},
        "software": read_json(layout.identity("instruct"))["software"],
        "results": [_result(found) for rows in results.values() for found in rows],
        "comparisons": _comparisons(config, results),
        "budgets": _budgets(config),
    }
    write_json(layout.COMPARISON, comparison)
    write_json(layout.METRICS, flat_metrics(comparison))
    write_text(layout.PLOTS / "frontier.csv", _frontier(config))


def _protocols(results: Results) -> tuple[dict[str, str], FrozenTerms]:
    """SHA-256 of each trait's protocol, after every result was held against every other, and the
    terms that all traits share.
    """
    first: dict[str, tuple[str, FrozenTerms]] = {}
    for (trait, arm), rows in results.items():
        terms = read_terms(layout.evaluation_terms(trait, arm))
        for found in rows:
            if found["protocol"] != digest(terms):
                raise TraitsteerError(
                    f"The result of {trait} {arm} {found['method']} carries protocol "
                    f"{found['protocol'][:12]}, its terms have {digest(terms)[:12]}; run "
                    "`dvc repro` to evaluate it again."
                )
        name, before = first.setdefault(trait, (arm, terms))
        refuse_difference(before, terms, (f"The results of {trait} {name}", f"{trait} {arm}"))
    of_trait = {trait: terms for trait, (_, terms) in first.items()}
    shared = shared_terms(of_trait)
    return {trait: digest(terms) for trait, terms in of_trait.items()}, shared


def _result(found: dict[str, Any]) -> dict[str, Any]:
    names = ("trait", "arm", "method", "layer", "strength", "coefficient", "baseline")
    measured = ("trait_score", "delta", "coherence", "random")
    result = {name: found[name] for name in (*names, *measured)}
    result["baseline"] = found["baseline"]["value"]
    result["trait_score"] = found["trait_score"] and found["trait_score"]["value"]
    return result


def _comparisons(config: Config, results: Results) -> list[dict[str, Any]]:
    """Of every trait; p-values are adjusted over the traits, among cells of the same kind."""
    if not {"instruction", "natural"} <= set(config.study.arms):
        return []
    rows = [_comparison(config, trait, results) for trait in config.study.traits]
    kinds: dict[str | None, list[dict[str, Any]]] = {}
    for row in rows:
        for cell in (row, *row["like_for_like"]):
            cell["p_adjusted"] = None
            if cell["p_value"] is not None:
                kinds.setdefault(cell.get("method"), []).append(cell)
    for cells in kinds.values():
        for cell, value in zip(cells, holm([cell["p_value"] for cell in cells]), strict=True):
            cell["p_adjusted"] = round(value, 4)
    return rows


def _comparison(config: Config, trait: str, results: Results) -> dict[str, Any]:
    """Natural against instruction: the best method of each arm, and every method that both have.

    The best are chosen on the selection questions. Where one arm has more methods to choose from,
    only the cells of one method compare like with like.
    """
    confidence = config.evaluate.confidence
    natural, instruction = results[trait, "natural"], results[trait, "instruction"]
    best = pairing(best_of_arm(natural), best_of_arm(instruction), confidence)
    feasible = {
        arm: {found["method"]: found for found in rows if found["status"] == "feasible"}
        for arm, rows in (("natural", natural), ("instruction", instruction))
    }
    shared = [m for m in config.arm("natural").methods if m in config.arm("instruction").methods]
    alike = [
        {"method": method}
        | pairing(feasible["natural"].get(method), feasible["instruction"].get(method), confidence)
        for method in shared
    ]
    for row in alike:
        del row["cosine_by_layer"]
    return {"trait": trait, **best, "like_for_like": alike}


def _budgets(config: Config) -> dict[str, dict[str, Any]]:
    """What each arm could choose from, and what its searches asked for, over all traits."""
    budgets = {}
    for arm in config.study.arms:
        methods = config.arm(arm).methods
        searches = [
            read_json(layout.search_record(trait, arm, method))
            for trait in config.study.traits
            for method in methods
        ]
        trials = [trial for search in searches for trial in tried(search)]
        recounted = [trial for search in searches for trial in search["recounted"]]
        budgets[arm] = {
            "methods": list(methods),
            "trials_at_most": config.search.trials,
            "trials": len(trials),
            "answers": sum(each["answers"] for each in trials + recounted),
        }
    return budgets


def flat_metrics(comparison: dict[str, Any]) -> dict[str, float]:
    """One number a key, as `dvc exp show` reads best; what is missing has no key."""
    metrics: dict[str, float] = {}
    for row in comparison["results"]:
        key = f"{row['trait']}.{row['arm']}.{row['method']}"
        for name in ("delta", "coherence", "random"):
            if row[name] is not None:
                metrics[f"{key}.{name}"] = row[name]["value"]
        if row["delta"] is not None:
            if row["delta"]["lower"] is not None:
                metrics[f"{key}.delta_lower"] = row["delta"]["lower"]
            metrics[f"{key}.strength"] = row["strength"]
            metrics[f"{key}.layer"] = row["layer"]
    for row in comparison["comparisons"]:
        if row["natural_percent"] is not None:
            metrics[f"{row['trait']}.natural_percent"] = row["natural_percent"]["value"]
        if row["cosine_best"] is not None:
            metrics[f"{row['trait']}.cosine_best"] = row["cosine_best"]
        for cell in row["like_for_like"]:
            if cell["natural_percent"] is not None:
                key = f"{row['trait']}.natural_percent.{cell['method']}"
                metrics[key] = cell["natural_percent"]["value"]
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
                found = read_json(layout.search_record(trait, arm, method))
                for trial in found["trials"]:
                    table.writerow({"trait": trait, "arm": arm, "method": method} | trial)
    return text.getvalue()
