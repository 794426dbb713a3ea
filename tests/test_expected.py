"""Expectations: a study that lies where it should is ok, one that does not is outside."""

import json
from pathlib import Path
from typing import Any

import pytest

from traitsteer.stages import expected
from traitsteer.words import layout
from traitsteer.words.config import Config, load, parse
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.expectation_file import read_expectations

PUBLISHED = {
    ("evil", "instruction"): (1.0, 63.8, 11, 0.9),
    ("evil", "natural"): (1.0, 66.3, 12, 1.0),
    ("sycophancy", "instruction"): (8.0, 54.2, 10, 1.1),
    ("sycophancy", "natural"): (8.0, 49.2, 13, 1.2),
    ("hallucination", "instruction"): (20.0, 63.0, 14, 0.8),
    ("hallucination", "natural"): (20.0, 61.4, 14, 1.1),
}
PASSED = {"evil": 0.13, "sycophancy": 0.46, "hallucination": 0.65}
PERCENT = {"evil": 104.0, "sycophancy": 91.0, "hallucination": 97.0}
LLAMA, JUDGE, PROTOCOL = "meta-llama/Llama-3.1-8B{}", "gpt-4.1-mini", "0" * 64
NORMS = {10: 4.6, 12: 5.3, 14: 6.3, 16: 8.0, 20: 11.0}


def put(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def interval(value: float) -> dict[str, Any]:
    return {"value": value, "lower": value - 5, "upper": value + 5, "n": 20}


def published_study(model: str = LLAMA.format("-Instruct"), judge: str = "openai") -> None:
    """The files of a study that found what was published, as those of a model and a judge."""
    results = []
    models = {"base": LLAMA.format(""), "instruct": model}
    named = {which: {"name": name} for which, name in models.items()}
    judged = {"judge": {"kind": judge, "name": JUDGE}}
    for (trait, arm), (baseline, delta, layer, strength) in PUBLISHED.items():
        result = {
            "trait": trait,
            "arm": arm,
            "method": "mean_difference",
            "status": "feasible",
            "protocol": PROTOCOL,
            "selection_delta": delta,
            "layer": layer,
            "strength": strength,
            "baseline": interval(baseline),
            "baseline_coherence": interval(75.0),
            "coherence": interval(72.0),
            "delta": interval(delta),
            "random": interval(3.0),
        }
        results.append(result | {"baseline": baseline})
        terms = judged | {"steered_model": named["instruct"]}
        put(layout.evaluation_terms(trait, arm), {"terms": terms})
        terms = judged | {"models": named}
        put(layout.extraction_protocol(trait), {"sha256": PROTOCOL, "terms": terms})
        put(layout.verdicts(trait, arm), {"protocol": PROTOCOL})
        put(layout.evaluation(trait, arm) / "mean_difference.json", result)
        coherence = {0.6: 90.0, 1.1: 75.0, 1.2: 40.0, 1.4: 10.0}
        trials = [
            {"layer": layer, "strength": s, "coherence": c, "delta": 1.0}
            for s, c in coherence.items()
        ]
        trials.append({"layer": 31, "strength": 0.3, "coherence": 5.0, "delta": None})
        search = {"layers": 32, "floor": 70, "trials": trials}
        put(layout.search(trait, arm) / "mean_difference.json", search)
        fitted = {"held_out_accuracy": [0.95] * 32}
        put(layout.vectors(trait, arm) / "mean_difference.json", fitted)
        counts = {"positive": 1000, "positive_kept": round(1000 * PASSED[trait])}
        put(layout.vet_counts(trait, arm), counts)
    comparisons = [
        {"trait": trait, "natural_percent": interval(share), "cosine_by_layer": [0.45] * 32}
        for trait, share in PERCENT.items()
    ]
    protocols = dict.fromkeys(PERCENT, PROTOCOL)
    found = {"models": models, "protocols": protocols, "results": results}
    put(layout.COMPARISON, found | {"comparisons": comparisons})
    norms = [NORMS.get(layer, 0.0) for layer in range(32)]
    put(layout.CALIBRATION, {"model": model, "mean_residual_norm": norms})


@pytest.fixture
def config(repository: Path, tmp_path: Path, monkeypatch) -> Config:
    monkeypatch.chdir(tmp_path)
    return load(repository / "profiles/llama-3.1-8b.yaml")


def test_what_was_published_is_expected(config: Config, repository: Path) -> None:
    folder = repository / "profiles/expected"
    assert {row.found for row in expected.run(config, folder)} == {"not measured"}
    published_study()
    outcomes = expected.run(config, folder)
    assert [row for row in outcomes if row.found != "ok"] == []
    measured = {row.expectation.measure for row in outcomes}
    assert measured == {"residual norm", *expected.OF_ARM, *expected.OF_TRAIT}
    counts = f"{len(outcomes)} ok, 0 outside, 0 not measured"
    assert expected.table(outcomes).splitlines()[-1] == counts


def test_what_an_earlier_study_left_is_not_measured(config: Config, repository: Path) -> None:
    folder = repository / "profiles/expected"
    for other in ({"model": "models/pocket/instruct"}, {"judge": "pocket"}):
        published_study(**other)
        measured = {
            r.expectation.measure for r in expected.run(config, folder) if r.value is not None
        }
        assert measured <= ({"residual norm"} if "judge" in other else set())
    published_study()
    # Vetted under other terms than those that the study has now.
    put(layout.verdicts("evil", "natural"), {"protocol": "1" * 64})
    missing = [row for row in expected.run(config, folder) if row.found == "not measured"]
    assert [(r.expectation.measure, r.trait, r.arm) for r in missing] == [
        ("kept share", "evil", "natural")
    ]


def test_what_differs_is_outside_and_nothing_else_is(config: Config, repository: Path) -> None:
    published_study()
    path = layout.evaluation("evil", "natural") / "mean_difference.json"
    found = json.loads(path.read_text())
    put(path, found | {"random": interval(60.0), "layer": 31, "delta": interval(66.3)})
    rows = expected.run(config, repository / "profiles/expected")
    outside = {(r.expectation.measure, r.trait, r.arm) for r in rows if r.found == "outside"}
    measures = {"random delta", "margin over random", "layer", "depth"}
    assert outside == {(measure, "evil", "natural") for measure in measures}
    # At the new layer every strength is below the floor, so there is no cliff to be seen.
    missing = {(r.expectation.measure, r.trait, r.arm) for r in rows if r.found == "not measured"}
    assert missing == {("cliff", "evil", "natural")}


def test_nothing_feasible_is_not_measured_but_its_baseline_is(
    config: Config, repository: Path
) -> None:
    published_study()
    path = layout.evaluation("evil", "natural") / "mean_difference.json"
    found = json.loads(path.read_text())
    put(path, found | {"status": "nothing feasible", "delta": None, "layer": None})
    rows = expected.run(config, repository / "profiles/expected")
    here = {r.expectation.measure: r.found for r in rows if (r.trait, r.arm) == ("evil", "natural")}
    assert here["baseline"] == "ok"
    assert here["delta"] == here["depth"] == "not measured"


def test_a_model_of_one_block_has_no_depth(config: Config, repository: Path) -> None:
    published_study()
    path = layout.search("evil", "natural") / "mean_difference.json"
    put(path, json.loads(path.read_text()) | {"layers": 1})
    rows = expected.run(config, repository / "profiles/expected")
    here = {r.expectation.measure: r.found for r in rows if (r.trait, r.arm) == ("evil", "natural")}
    assert here["depth"] == "not measured" and here["layer"] == "ok"


def test_every_profile_differs_from_the_founding_one_in_models_and_sizes_alone(
    repository: Path,
) -> None:
    profiles = {path.stem: load(path) for path in (repository / "profiles").glob("*.yaml")}
    founding = profiles["llama-3.1-8b"]
    assert founding.study.coherence_floor == 70
    assert (founding.arms["instruction"].position, founding.arms["natural"].position) == (
        "response[:]",
        "response[:10]",
    )
    for name in ("qwen2.5-7b", "gemma-2-2b", "qwen2.5-1.5b"):
        values = profiles[name].model_dump(mode="json")
        whole = founding.model_dump(mode="json")
        assert values["models"].keys() == whole["models"].keys()
        for key in ("rows", "tokens", "base", "instruct"):
            values["models"][key] = whole["models"][key]
        assert parse(values | {"profile": "llama-3.1-8b"}) == founding
        assert profiles[name].models.base.name != founding.models.base.name


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- {measure: a, why: b}", "holds measure, why, expected measure, range, why"),
        ("- {measure: a, range: [2, 1], why: b}", r"range is \[2, 1\]"),
        ("- {measure: a, range: [false, 1], why: b}", r"range is \[False, 1\]"),
        (
            "- {measure: a, range: [0, 1], why: b, traits: evil}",
            "traits is 'evil', expected a list",
        ),
        ("- {measure: a, range: [0, 1], why: b, arms: [1]}", r"arms is \[1\], expected a list of"),
        ("- {measure: a, range: [0, 1], why: b, layer: 1.5}", "layer is 1.5, expected a whole"),
        ("- {measure: a, range: [0, 1], why: 2}", "why is 2, expected text"),
        ("a: 1", "expected a list"),
        ("[]", "holds an empty list"),
        ("- [", "is no YAML"),
    ],
)
def test_a_wrong_file_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "general.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TraitsteerError, match=sentence):
        read_expectations(path)


def test_an_unknown_measure_is_named(config: Config, tmp_path: Path) -> None:
    (tmp_path / "general.yaml").write_text("- {measure: luck, range: [0, 1], why: hope}")
    with pytest.raises(TraitsteerError, match="names the measure 'luck'"):
        expected.run(config, tmp_path)


def test_a_table_of_nothing_counts_nothing() -> None:
    head, _, counts = expected.table([]).splitlines()
    assert head.startswith("measure") and counts == "0 ok, 0 outside, 0 not measured"
