"""factorial: what differs between the arms, and how much of the difference each factor explains.

Reads the evaluations and vectors of a study that has every combination of its factors, its texts,
and what its models and its judge are; writes reports/factorial.json and the figures in
reports/factorial/, and prints the tables. It is called by hand (`make factorial`), since a study
need not be factorial.
"""

from statistics import fmean, median_low
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from traitsteer.experiment.pairing import deltas, vectors
from traitsteer.experiment.results import one_protocol, read_result
from traitsteer.experiment.studied import studied
from traitsteer.maths.direction import cosine
from traitsteer.maths.factors import (
    Contrast,
    Term,
    at,
    cube,
    effect,
    higher_order_margin,
    margin_of,
    shapley,
    spearman_brown,
    terms,
    variance_shares,
)
from traitsteer.maths.limits import ROUNDING
from traitsteer.maths.statistics import mean_interval, ratio_interval
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.design import Cell, Design, design
from traitsteer.words.factor_tables import tables
from traitsteer.world.figures import factor_plots
from traitsteer.world.figures.plot_style import save_png, style
from traitsteer.world.files import read_json, write_json

Record = dict[str, Any]
Cells = NDArray[np.float64]
"""Delta [questions, 2, 2, ...], one axis for each factor of the design."""

TOLD = ("arm", "method", "status", "layer", "strength", "delta", "coherence", "random")
"""What is said of each cell, as the evaluation wrote it."""


def run(config: Config) -> None:
    """Analyse every trait, and all traits together.

    Raises:
        TraitsteerError: the study is not factorial, an evaluation or what a model is is missing,
            or results were made under different protocols.
    """
    plan = design(config)
    confidence = config.evaluate.confidence
    results = {trait: _results(plan, trait) for trait in config.study.traits}
    found: Record = {
        "profile": config.profile,
        "of": studied(config),
        "confidence": confidence,
        "samples": config.evaluate.samples,
        "trials": config.search.trials,
        "factors": [{"name": f.name, "levels": list(f.levels)} for f in plan.factors],
        "cells": [{"arm": c.arm, "method": c.method, "levels": plan.levels(c)} for c in plan.cells],
        "traits": [],
        "all": None,
    }
    whole = []
    for trait, rows in results.items():
        nothing = [row for row in rows if row["status"] != "feasible"]
        analysis: Record = {
            "trait": trait,
            "protocol": rows[0]["protocol"],
            "cells": [{name: row[name] for name in TOLD} for row in rows],
            "nothing_feasible": [{k: row[k] for k in ("arm", "method")} for row in nothing],
            "cosine": _cosines(plan, rows),
        }
        if not nothing:
            cells = _by_question(plan, rows)
            whole.append(cells)
            analysis |= _analysis(plan, cells, confidence)
        found["traits"].append(analysis)
    if len(whole) > 1:
        names = [row["trait"] for row in found["traits"] if not row["nothing_feasible"]]
        found["all"] = {"traits": names} | _analysis(plan, np.concatenate(whole), confidence)
    write(complete(found))
    print(tables(found))


def complete(found: Record) -> Record:
    """Add to a record what follows from its estimates alone, in place, and give it back.

    The margins of luck of parts, wholes and leads, and the likeness of a second draw. A record of
    a finished study can be completed without its answers.
    """
    factors = [factor["name"] for factor in found["factors"]]
    for one in filter(None, (*found["traits"], found["all"])):
        for each in one.get("decompositions", ()):
            _add_margins(each, factors, one["margin"])
        if one.get("cosine"):
            drawn = spearman_brown(one["cosine"]["split_half"])
            one["cosine"]["second_draw"] = None if drawn is None else round(drawn, 4)
    return found


def write(found: Record) -> None:
    """Write reports/factorial.json and the figures."""
    write_json(layout.FACTORIAL, found)
    with style():
        save_png(factor_plots.parts(found), layout.FACTORIAL_FIGURES / "parts.png")
        save_png(factor_plots.cosines(found), layout.FACTORIAL_FIGURES / "cosines.png")


def _add_margins(decomposition: Record, factors: list[str], of_effect: float | None) -> None:
    """Say how large the whole, each part, and the lead of the largest would be by luck alone.

    `of_effect` is the margin of an effect; None where there is none.
    """
    parts = decomposition["parts"]
    switched = [factors.index(part["factor"]) for part in parts]

    def margin(contrast: Contrast) -> float | None:
        if of_effect is None:
            return None
        return round(margin_of(contrast, len(factors), of_effect), 4)

    def of_parts(weights: NDArray[np.float64]) -> float | None:
        return margin(lambda cells: shapley(cells, switched) @ weights)

    decomposition["margin"] = margin(lambda cells: at(cells, switched) - at(cells, ()))
    for part, weights in zip(parts, np.eye(len(parts)), strict=True):
        part["margin"] = of_parts(weights)
    if len(parts) > 1:
        values = np.array([part["part"]["value"] for part in parts])
        _, second = _largest(values)
        lead = _lead(values)
        known = decomposition.get("ahead", {}).get("by")
        by = round(float(lead @ values), 4)
        decomposition["ahead"] = {
            "of": parts[second]["factor"],
            # A record has no answers by question, from which alone an interval could be made.
            "by": known or {"value": by, "lower": None, "upper": None, "n": 0},
            "margin": of_parts(lead),
        }


def _largest(values: NDArray[np.float64]) -> tuple[int, int]:
    """Places of the largest and the second largest in size."""
    first, second = np.argsort(-np.abs(values))[:2]
    return int(first), int(second)


def _lead(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the parts whose sum is how much the largest exceeds the next in size."""
    weights = np.zeros(len(values))
    for place, sign in zip(_largest(values), (1.0, -1.0), strict=True):
        weights[place] = sign * np.sign(values[place])
    return weights


def _results(plan: Design, trait: str) -> list[Record]:
    """The evaluation of every cell, all of them under one protocol."""
    rows = [read_result(trait, cell.arm, cell.method) for cell in plan.cells]
    one_protocol(trait, rows)
    return rows


def _by_question(plan: Design, rows: list[Record]) -> Cells:
    """Delta of every cell for the questions that have one in all of them."""
    means = [{question: _mean(values) for question, values in deltas(row).items()} for row in rows]
    shared = [q for q in means[0] if all(each.get(q) is not None for each in means)]
    columns = [np.array([each[q] for q in shared], dtype=np.float64) for each in means]
    return cube(columns, [cell.place for cell in plan.cells])


def _mean(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return fmean(present) if present else None


def _analysis(plan: Design, cells: Cells, confidence: float) -> Record:
    """Effects, decompositions and shares of variance, with intervals over questions."""
    every = terms(len(plan.factors))
    margin = higher_order_margin(cells, confidence)
    shares = variance_shares(cells)
    method = [axis for axis, factor in enumerate(plan.factors) if factor.name == "method"]
    switches = [tuple(range(len(plan.factors)))]
    if method and len(plan.factors) > 1:
        switches.append(tuple(axis for axis in switches[0] if axis not in method))
    return {
        "questions": len(cells),
        "effects": [
            {
                "factors": _names(plan, term),
                "effect": _interval(effect(cells, term), confidence),
            }
            for term in every
            if len(term) <= 2
        ],
        "margin": margin if margin is None else round(margin, 4),
        "decompositions": [_decomposition(plan, cells, each, confidence) for each in switches],
        "variance": shares
        and [
            {
                "of": name if isinstance(name, str) else " x ".join(_names(plan, name)),
                "share": round(share, 6),
            }
            for name, share in shares.items()
        ],
    }


def _decomposition(plan: Design, cells: Cells, switched: Term, confidence: float) -> Record:
    """How much each factor adds on the way from the first cell to the one with these switched."""
    start = plan.cell((0,) * len(plan.factors))
    end = plan.cell(tuple(int(axis in switched) for axis in range(len(plan.factors))))
    difference = at(cells, switched) - at(cells, ())
    parts = shapley(cells, switched)
    return {
        "from": _named(start),
        "to": _named(end),
        "whole": _interval(difference, confidence),
        "parts": [
            {
                "factor": plan.factors[axis].name,
                "part": _interval(parts[:, place], confidence),
                # A share of a difference of 0 does not exist.
                "percent": ratio_interval(
                    parts[:, [place]], difference[:, None], confidence
                ).rounded()
                if abs(difference.mean()) > ROUNDING
                else None,
            }
            for place, axis in enumerate(switched)
        ],
        "ahead": {"by": _interval(parts @ _lead(parts.mean(axis=0)), confidence)}
        if len(switched) > 1
        else None,
    }


def _cosines(plan: Design, rows: list[Record]) -> Record | None:
    """How alike the vectors of all cells are at the median of the layers that they were steered at.

    `switched` is the mean cosine of two cells that differ in one factor alone, `split_half` that of
    two vectors of one cell from halves of its responses. None where nothing was steered.
    """
    layers = [row["layer"] for row in rows if row["layer"] is not None]
    if not layers:
        return None
    layer = median_low(layers)
    stacked = torch.stack([vectors(row)[layer] for row in rows])
    matrix = cosine(*torch.broadcast_tensors(stacked[:, None], stacked[None, :]))
    switched = []
    for axis, factor in enumerate(plan.factors):
        pairs = [
            float(matrix[one, other])
            for one, first in enumerate(plan.cells)
            for other, second in enumerate(plan.cells)
            if _flipped(first, axis) == second.place and one < other
        ]
        switched.append({"factor": factor.name, "cosine": round(fmean(pairs), 4)})
    halves = [
        read_json(layout.fit_measures(row["trait"], row["arm"], row["method"])) for row in rows
    ]
    return {
        "layer": layer,
        "matrix": [[round(value, 4) for value in row] for row in matrix.tolist()],
        "switched": switched,
        "split_half": round(fmean(half["split_half_cosine"][layer] for half in halves), 4),
    }


def _flipped(cell: Cell, axis: int) -> tuple[int, ...]:
    return tuple(1 - at if place == axis else at for place, at in enumerate(cell.place))


def _interval(values: NDArray[np.float64], confidence: float) -> Record:
    return mean_interval(values[:, None], confidence).rounded()


def _names(plan: Design, term: Term) -> list[str]:
    return [plan.factors[axis].name for axis in term]


def _named(cell: Cell) -> Record:
    return {"arm": cell.arm, "method": cell.method}
