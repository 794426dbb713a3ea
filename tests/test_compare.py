"""Natural against instruction: planted answers and vectors, and what the table makes of them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from traitsteer.stages import compare
from traitsteer.words import layout
from traitsteer.words.config import Config, load
from traitsteer.words.records import ScoredAnswer
from traitsteer.world import tensors
from traitsteer.world.files import write_jsonl

QUESTIONS, SAMPLES, LAYERS, WIDTH = 8, 2, 3, 16
METHODS = {"instruction": ("mean_difference",), "natural": ("mean_difference", "probe")}
LAYER = {
    ("instruction", "mean_difference"): 0,
    ("natural", "mean_difference"): 1,
    ("natural", "probe"): 2,
}


@pytest.fixture
def config(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    found = load(repository / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return found


def planted(rises: dict[tuple[str, str], np.ndarray]) -> dict[tuple[str, str], list[dict]]:
    """The files and results of methods whose vectors raise each question by so much."""
    results: dict[tuple[str, str], list[dict[str, Any]]] = {}
    base = np.random.default_rng(0).uniform(0, 20, (QUESTIONS, SAMPLES))
    for (arm, method), rise in rises.items():
        sets = {"baseline": base, "steered": base + rise[:, None]}
        rows = [
            {"setting": name}
            | asdict(ScoredAnswer(q, s, 0, "", float(values[q, s]), 80.0, 5, "stop"))
            for name, values in sets.items()
            for q in range(QUESTIONS)
            for s in range(SAMPLES)
        ]
        write_jsonl(layout.evaluation("evil", arm) / f"{method}.answers.jsonl", rows)
        head = {"trait": "evil", "arm": arm, "method": method}
        tensors.write(
            layout.vectors("evil", arm) / f"{method}.safetensors",
            {"vectors": directions(arm, method)},
            head,
        )
        measured = {"selection_delta": float(rise.mean()), "delta": {"value": float(rise.mean())}}
        results.setdefault(("evil", arm), []).append(
            head | measured | {"status": "feasible", "layer": LAYER[arm, method]}
        )
    return results


def directions(arm: str, method: str) -> torch.Tensor:
    seed = sorted(LAYER).index((arm, method))
    drawn = torch.randn(LAYERS, WIDTH, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


def test_the_natural_arm_is_held_against_the_instruction_arm(config: Config) -> None:
    grows = np.arange(QUESTIONS)
    rises = {
        ("instruction", "mean_difference"): 20.0 + grows,
        ("natural", "mean_difference"): 30.0 - grows,
        ("natural", "probe"): 50.0 + 2.0 * grows,
    }
    row = compare._comparison(config, "evil", planted(rises))
    [alike] = row["like_for_like"]
    assert alike["method"] == "mean_difference"
    old = rises["instruction", "mean_difference"]
    for cell, method in ((row, "probe"), (alike, "mean_difference")):
        new = rises["natural", method]
        assert cell["difference"]["value"] == pytest.approx((new - old).mean(), abs=1e-3)
        assert cell["difference"]["n"] == QUESTIONS
        percent = cell["natural_percent"]["value"]
        assert percent == pytest.approx(100 * new.mean() / old.mean(), abs=1e-2)
        layers = LAYER["natural", method], LAYER["instruction", "mean_difference"]
        one, other = directions("natural", method), directions("instruction", "mean_difference")
        assert cell["cosine_best"] == pytest.approx(
            float(one[layers[0]] @ other[layers[1]]), abs=1e-5
        )
    assert row["difference"]["lower"] > 0 and row["p_value"] < 0.05
    by_layer = (directions("natural", "probe") * directions("instruction", "mean_difference")).sum(
        1
    )
    assert row["cosine_by_layer"] == pytest.approx(by_layer.tolist(), abs=1e-5)


def test_arms_that_do_the_same_do_not_differ(config: Config) -> None:
    rise = 20.0 + np.arange(QUESTIONS)
    row = compare._comparison(config, "evil", planted(dict.fromkeys(LAYER, rise)))
    assert row["difference"]["value"] == 0 and row["p_value"] == 1
    assert row["natural_percent"]["value"] == pytest.approx(100)


def test_a_share_of_nothing_does_not_exist_and_the_difference_does(config: Config) -> None:
    """What the arms share is what counts: the delta of all answers may be another."""
    up_and_down = np.resize([5.0, -5.0], QUESTIONS)
    # Half of a fall is a rise beside it, and no 50 % of anything; the same of what is rounding.
    for old, new in ((0.0, 9.0), (-12.0, -6.0), (1e-13, 9.0)):
        rises = {key: up_and_down + (old if key[0] == "instruction" else new) for key in LAYER}
        results = planted(rises)
        for found in results["evil", "instruction"]:
            found["delta"] = found["delta"] | {"value": 1.0}
        row = compare._comparison(config, "evil", results)
        assert row["natural_percent"] is None
        assert row["difference"]["value"] == pytest.approx(new - old, abs=1e-3)
        metrics = compare.flat_metrics({"results": [], "comparisons": [row]})
        assert metrics == {"evil.cosine_best": row["cosine_best"]}


def test_a_metric_that_is_missing_has_no_key() -> None:
    row = {"trait": "evil", "arm": "natural", "method": "probe", "layer": 1, "strength": 0.5}
    row |= {"delta": {"value": 9.0, "lower": None}, "coherence": None, "random": None}
    found = compare.flat_metrics({"results": [row], "comparisons": []})
    assert found == {
        f"evil.natural.probe.{k}": v for k, v in (("delta", 9.0), ("strength", 0.5), ("layer", 1))
    }


def test_without_a_feasible_setting_of_both_nothing_is_compared(config: Config) -> None:
    results = planted(dict.fromkeys(LAYER, np.full(QUESTIONS, 20.0)))
    for found in results["evil", "natural"]:
        found |= {"status": "nothing feasible", "selection_delta": None, "delta": None}
    row = compare._comparison(config, "evil", results)
    assert row["difference"] is None and row["natural_percent"] is None
    assert row["like_for_like"][0]["difference"] is None
