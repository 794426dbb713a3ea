"""Made-up records of what stands beside each delta: nulls, frontier, ceiling, side effects."""

import math
import random
from typing import Any

import numpy as np

QUESTIONS = 20
LADDER = (0.4, 0.6, 0.8, 0.9, 1.0, 1.1, 1.25)
NULLS = {"random": (5, 1.0), "shuffled": (5, 5.0), "orthogonal": (3, 1.0), "negated": (1, 2.0)}
"""How many vectors of each kind, and how far their deltas spread."""

MEASURED = (
    "selection_delta", "first_delta", "shrinkage", "trait_score", "delta", "coherence",
    "coherence_at_worst", "p_value",
    "both", "random", "random_each", "nulls", "frontier", "frontier_missing", "at_floor",
    "at_baseline_minus_5", "layer", "strength", "coefficient",
)  # fmt: skip


def interval(value: float, half: float, n: int = QUESTIONS) -> dict[str, Any]:
    return {
        "value": round(value, 4),
        "lower": round(value - half, 4),
        "upper": round(value + half, 4),
        "n": n,
    }


def share(percent: float) -> dict[str, Any]:
    half = 1.5 + 0.2 * math.sqrt(percent * (100 - percent))
    found = interval(percent, half)
    return found | {"lower": max(0.0, found["lower"]), "upper": min(100.0, found["upper"])}


def evidence(best: dict[str, Any] | None, draw: random.Random) -> dict[str, Any]:
    """What evaluate writes of one vector, but for its names and protocol."""
    baseline, held = round(draw.uniform(3, 9), 4), 91.2
    found: dict[str, Any] = {
        "status": "feasible" if best else "nothing feasible",
        "baseline": interval(baseline, 1.9),
        "baseline_coherence": interval(held, 1.1),
        "missing": 1 if best else 0,
        "prompted": {
            "trait_score": interval(baseline + 84, 3.1),
            "delta": interval(84.0, 3.4),
            "coherence": interval(86.0, 1.4),
            "coherence_at_worst": 86.0,
        },
        **dict.fromkeys(MEASURED),
    }
    if best is None:
        return found
    steps = [_step(best, baseline, multiple, draw) for multiple in LADDER]
    chosen = steps[LADDER.index(1.0)]
    delta = chosen["delta"]["value"]
    nulls = {kind: _null(delta, *about, draw) for kind, about in NULLS.items()}
    return found | {
        **{name: best[name] for name in ("layer", "strength", "coefficient")},
        "selection_delta": best["delta"],
        "first_delta": round(best["delta"] + draw.uniform(-2, 12), 4),
        "shrinkage": interval(best["delta"] - delta, 9.0, 2 * QUESTIONS),
        "trait_score": chosen["trait_score"],
        "delta": chosen["delta"],
        "coherence": chosen["coherence"],
        "coherence_at_worst": chosen["coherence_at_worst"],
        "p_value": 0.0002,
        "both": chosen["both"],
        "random": nulls["random"]["pooled"],
        "random_each": nulls["random"]["each"],
        "nulls": nulls,
        "frontier": steps,
        "frontier_missing": [],
        "at_floor": _read_off(steps, 70.0),
        "at_baseline_minus_5": _read_off(steps, held - 5),
    }


def _read_off(steps: list[dict[str, Any]], coherence: float) -> dict[str, Any]:
    """The frontier at one coherence, which falls from step to step."""
    held = [-step["coherence"]["value"] for step in steps]
    delta = np.interp(-coherence, held, [step["delta"]["value"] for step in steps])
    strength = np.interp(-coherence, held, [step["strength"] for step in steps])
    return {"delta": interval(float(delta), 8.0), "strength": round(float(strength), 4)}


def _step(
    best: dict[str, Any], baseline: float, multiple: float, draw: random.Random
) -> dict[str, Any]:
    """One strength of a frontier: a rise that levels off, a coherence that collapses."""
    delta = best["delta"] / (1 + math.exp(-9 * (multiple - 0.75))) * 1.08 + draw.uniform(-2, 2)
    coherence = 91.2 / (1 + math.exp(11 * (multiple - 1.18))) + draw.uniform(-1, 1)
    return {
        "strength": round(best["strength"] * multiple, 4),
        "coefficient": round(best["coefficient"] * multiple, 4),
        "trait_score": interval(baseline + delta, 6.0),
        "delta": interval(delta, 2 + 6 * math.sin(math.pi * min(1.0, max(delta, 0) / 100))),
        "coherence": interval(coherence, 2.5),
        "coherence_at_worst": round(coherence, 4),
        "both": share(min(100.0, max(0.0, 0.8 * delta * coherence / 91))),
    }


def _null(delta: float, count: int, spread: float, draw: random.Random) -> dict[str, Any]:
    deltas = [draw.gauss(0.3, spread) for _ in range(count)]
    pooled = sum(deltas) / count
    return {
        "pooled": interval(pooled, 0.4 + spread / 2),
        "each": [
            {
                "delta": round(each, 4),
                "coherence": round(draw.uniform(70, 91), 4),
                "cosine": round(draw.uniform(-0.3, 0.3), 4),
            }
            for each in deltas
        ],
        "p_value": round((1 + sum(each >= delta for each in deltas)) / (1 + count), 6),
        "difference": interval(delta - pooled, 6.0),
        "missing": [],
    }


def cross_rows(reach: dict[str, float], traits: tuple, arms: tuple) -> list[dict[str, Any]]:
    """Every trait under every vector, and under the vectors of others in its own place."""
    draw = random.Random("cross")
    rows = []
    for at in ("own", "same"):
        for vector in traits:
            for arm in arms:
                for scored in traits:
                    if at == "same" and vector == scored:
                        continue
                    delta = reach[vector] if vector == scored else draw.uniform(-4, 16)
                    rows.append(
                        {
                            "vector": vector,
                            "arm": arm,
                            "method": "mean_difference",
                            "scored": scored,
                            "at": at,
                            "baseline": 6.1,
                            "trait_score": round(6.1 + delta, 4),
                            "delta": interval(delta, 4.4),
                            "p_value": 0.0002 if vector == scored else 0.31,
                            "coherence": round(draw.uniform(71, 82), 4),
                            "missing": 0,
                        }
                    )
    return rows


def perplexity_rows(traits: tuple, arms: tuple) -> list[dict[str, Any]]:
    draw = random.Random("perplexity")
    rows = []
    for vector in traits:
        for arm in arms:
            ratio = draw.uniform(1.1, 2.9)
            rows.append(
                {
                    "vector": vector,
                    "arm": arm,
                    "method": "mean_difference",
                    "perplexity": round(8.2 * ratio, 4),
                    "baseline": 8.2,
                    "ratio": {
                        "value": round(ratio, 4),
                        "lower": round(ratio / 1.08, 4),
                        "upper": round(ratio * 1.08, 4),
                        "n": 30,
                    },
                }
            )
    return rows
