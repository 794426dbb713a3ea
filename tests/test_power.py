"""Power: equal to the noncentral t by integration and to simulation; the table of a study."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from traitsteer.cli import main
from traitsteer.maths.power import (
    Components,
    detectable_difference,
    power,
    questions_needed,
    standard_error,
    variance_components,
)
from traitsteer.stages import power as stage
from traitsteer.words import layout
from traitsteer.words.config import Config, load
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import ScoredAnswer
from traitsteer.world.files import write_json, write_jsonl

PARTS = Components(between=100.0, within=400.0, questions=20, samples=4)


def drawn(seed: int, questions: int, samples: int, mean: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    of_question = random.normal(0, 10, (questions, 1))
    return mean + of_question + random.normal(0, 20, (questions, samples))


def test_power_is_the_noncentral_t_by_direct_integration() -> None:
    n, shift = 20, 8.0 / standard_error(PARTS, 20, 4)
    limit = stats.t.ppf(0.975, n - 1)

    def given(scale: float) -> float:
        density = stats.chi.pdf(scale * (n - 1) ** 0.5, n - 1) * (n - 1) ** 0.5
        return density * (
            stats.norm.sf(limit * scale - shift) + stats.norm.cdf(-limit * scale - shift)
        )

    expected, _ = integrate.quad(given, 0, 4)
    assert power(8.0, PARTS, n, 4, 0.95) == pytest.approx(expected, abs=1e-6)
    assert power(0.0, PARTS, n, 4, 0.95) == pytest.approx(0.05)


def test_power_is_how_often_a_true_difference_is_found() -> None:
    runs = 4000
    means = drawn(0, 15 * runs, 2, 9.0).mean(axis=1).reshape(runs, 15)
    found = (stats.ttest_1samp(means, 0.0, axis=1).pvalue < 0.05).mean()
    expected = power(9.0, PARTS, 15, 2, 0.95)
    error = (expected * (1 - expected) / runs) ** 0.5
    assert found == pytest.approx(expected, abs=4 * error)


def test_what_is_needed_and_what_is_told_apart_are_each_other() -> None:
    least = detectable_difference(PARTS, 20, 4, 0.95, 0.8)
    assert power(least, PARTS, 20, 4, 0.95) == pytest.approx(0.8)
    for samples in (1, 4, 16):
        n = questions_needed(10.0, PARTS, samples, 0.95, 0.8)
        assert power(10.0, PARTS, n, samples, 0.95) >= 0.8
        assert power(10.0, PARTS, n - 1, samples, 0.95) < 0.8
    assert questions_needed(0.001, PARTS, 1, 0.95, 0.8, at_most=1000) is None
    assert questions_needed(1e6, PARTS, 1, 0.95, 0.8) == 2
    assert detectable_difference(PARTS, 20, 4, 0.95, 0.04) == 0.0, "an interval errs as often"
    still = Components(0.0, 0.0, 20, 4)
    assert detectable_difference(still, 20, 4, 0.95, 0.8) == 0.0
    assert questions_needed(0.1, still, 1, 0.95, 0.8) == 2


def test_components_equal_the_analysis_of_variance_and_are_unbiased() -> None:
    rows = drawn(0, 20, 4)
    found = variance_components({str(q): row for q, row in enumerate(rows.tolist())})
    within = rows.var(axis=1, ddof=1).mean()
    between = rows.mean(axis=1).var(ddof=1) - within / 4
    assert (found.within, found.between) == pytest.approx((within, max(between, 0.0)))
    assert (found.questions, found.samples) == (20, 4)
    many = []
    for seed in range(400):
        values = {str(q): row for q, row in enumerate(drawn(seed, 30, 4).tolist())}
        values["0"] = [*values["0"][:1], None, None]
        many.append(variance_components(values))
    assert np.mean([one.between for one in many]) == pytest.approx(100, abs=8)
    assert np.mean([one.within for one in many]) == pytest.approx(400, abs=12)


def test_impossible_input_is_one_sentence() -> None:
    with pytest.raises(TraitsteerError, match="found 1 questions"):
        variance_components({"a": [1.0, 2.0], "b": [None]})
    with pytest.raises(TraitsteerError, match="0 repeated samples"):
        variance_components({"a": [1.0], "b": [2.0]})
    with pytest.raises(TraitsteerError, match="1 questions of 4 samples"):
        power(1.0, PARTS, 1, 4, 0.95)


@pytest.fixture
def finished(repository: Path, tmp_path: Path, monkeypatch) -> Config:
    """A study of one trait: both arms steered by 50 with the same question effects."""
    monkeypatch.chdir(tmp_path)
    text = (repository / "profiles/pocket.yaml").read_text(encoding="utf-8")
    text = text.replace("traits: [evil, sycophancy, hallucination]", "traits: [evil]")
    Path("params.yaml").write_text(text, encoding="utf-8")
    config = load()
    base = drawn(1, 20, 4)
    for place, arm in enumerate(config.study.arms):
        for method in config.arm(arm).methods:
            sets = {"baseline": base, "steered": base + 50 + drawn(2, 20, 4) + 5 * place}
            rows = [
                {"setting": name}
                | asdict(ScoredAnswer(q, s, 0, "", float(values[q, s]), 80.0, 5, "stop"))
                for name, values in sets.items()
                for q in range(20)
                for s in range(4)
            ]
            rows[0]["trait_score"] = None
            folder = layout.evaluation("evil", arm)
            write_jsonl(folder / f"{method}.answers.jsonl", rows)
            delta = 40.0 + (method == "probe")
            result = {"status": "feasible", "method": method, "selection_delta": delta}
            write_json(folder / f"{method}.json", result)
    return config


def test_the_table_of_a_study(finished: Config, capsys) -> None:
    assert main(["power", "--difference", "10"]) == 0
    printed = capsys.readouterr().out
    assert "evil, instruction (mean difference): delta" in printed
    assert "evil, natural (probe): delta" in printed
    # Both arms differ by the same 5 points everywhere: there is no variance left.
    last = printed.partition("evil, instruction minus natural")[2]
    assert "standard deviation 0.0 between questions, 0.0 between samples" in last
    effects = drawn(2, 20, 4)
    values = {str(q): row for q, row in enumerate(effects.tolist())}
    values["0"][0] = None
    parts = variance_components(values)
    least = detectable_difference(parts, 40, 4, 0.95, 0.8)
    assert f"{least:.1f}" in next(line for line in printed.splitlines() if "40 questions" in line)
    needed = questions_needed(10.0, parts, 4, 0.95, 0.8)
    line = next(line for line in printed.splitlines() if "questions for 10" in line)
    assert line.split()[5] == str(needed)
    alone = stage.table(finished, 10.0, arm="natural")
    assert "minus" not in alone and "natural" in alone


def test_what_cannot_be_answered_is_one_sentence(finished: Config, capsys) -> None:
    for extra, sentence in (
        (["--difference", "0"], "expected a difference above 0"),
        (["--difference", "5", "--power", "1"], "a probability between 0 and 1"),
        (["--difference", "5", "--trait", "envy"], "no trait 'envy'"),
        (["--difference", "5", "--arm", "other"], "no arm 'other'"),
    ):
        assert main(["power", *extra]) == 1
        assert sentence in capsys.readouterr().err
    nothing = {"status": "nothing feasible", "method": "mean_difference", "selection_delta": None}
    write_json(layout.evaluation("evil", "instruction") / "mean_difference.json", nothing)
    assert "evil, instruction: nothing feasible" in stage.table(finished, 5.0)
