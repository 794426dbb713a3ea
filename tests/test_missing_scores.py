"""Scores that a judge did not give: never zero, counted, named on the page, and at last a stop."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from report_inputs import configuration, write_study

from traitsteer.experiment.answering import Questions, Setting
from traitsteer.stages import cross, evaluate, report, vet
from traitsteer.words import layout, scores
from traitsteer.words.config import Config, load
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import JudgedState, Judgement, ScoredAnswer, Trait
from traitsteer.world.files import read_json, read_jsonl, write_json
from traitsteer.world.judge.model_judge import Said, judgement
from traitsteer.world.trait_folder import read_trait


@pytest.fixture
def config(repository: Path) -> Config:
    return load(repository / "profiles/pocket.yaml")


@pytest.fixture
def trait(repository: Path) -> Trait:
    return read_trait(repository / "data/pocket/traits/evil")


def answers(lost: int, of: int = 20, state: JudgedState = "failed") -> list[ScoredAnswer]:
    """One answer to each question; the first ones lack both scores."""
    whole = [ScoredAnswer(q, 0, 0, "text", 50.0 + q, 90.0, 5, "stop") for q in range(of)]
    gone = [replace(a, trait_score=None, coherence=None, state=state) for a in whole[:lost]]
    return gone + whole[lost:]


def test_too_many_missing_scores_are_one_sentence_that_says_what_to_do() -> None:
    scores.refuse_missing(answers(2), 0.1, "here")
    for lost, allowed in ((3, 0.1), (20, 1.0)):
        with pytest.raises(TraitsteerError, match=f"^here: {lost} of 20 answers .* the judge"):
            scores.refuse_missing(answers(lost), allowed, "here")
    silent = answers(3, state="no answer")
    with pytest.raises(TraitsteerError, match="raise answers"):
        scores.refuse_missing(silent, 0.1, "here")
    with pytest.raises(TraitsteerError, match="check the judge"):
        scores.refuse_missing([*silent, *answers(4, 5)], 0.1, "here")


def test_a_setting_without_any_score_cannot_be_judged_whatever_is_allowed() -> None:
    assert scores.enough(answers(19), 1.0)
    assert not scores.enough(answers(20), 1.0)


class Bench:
    """Answers with so many scores missing in each setting, by their places in the call."""

    def __init__(self, lost: Sequence[int]) -> None:
        self.lost = lost
        self.model = SimpleNamespace(width=4)

    def answers(
        self, questions: Questions, settings: Sequence[Setting], samples: int, *rest: Any
    ) -> list[list[ScoredAnswer]]:
        assert len(settings) == len(self.lost)
        return [answers(lost, len(questions.texts)) for lost in self.lost]


def test_nulls_prompts_and_frontier_are_spared_and_what_they_are_held_against_is_not(
    config: Config, trait: Trait
) -> None:
    names = ("baseline", "steered", "prompted-0", "shuffled-3", "negated", "frontier-0.9")
    settings = {name: Setting(0, torch.zeros(4), 0.0) for name in names}
    half = len(trait.report) // 2
    found = evaluate._answers(config, Bench([0, 0, *4 * [half]]), trait, settings, "here")
    assert [scores.missing(rows) for rows in found.values()] == [0, 0, *4 * [half]]
    for place, name in enumerate(names[:2]):
        lost = [half if n == place else 0 for n in range(len(names))]
        with pytest.raises(TraitsteerError, match=f"here, {name}: {half} of"):
            evaluate._answers(config, Bench(lost), trait, settings, "here")


def test_a_cell_of_cross_without_enough_scores_is_not_measured(
    config: Config, trait: Trait, monkeypatch
) -> None:
    monkeypatch.setattr(cross, "trait_of", lambda *args: trait)
    sent = [cross.Sent(name, "natural", "probe", Setting(0, torch.ones(4), 1.0)) for name in "ab"]
    model: Any = SimpleNamespace(width=4)
    half = len(trait.report) // 2
    monkeypatch.setattr(cross, "open_bench", lambda *args: Bench([0, 1, half]))
    whole, lost = cross._scored(config, model, "evil", sent, [])
    assert whole["missing"] == 1 and whole["delta"]["n"] == len(trait.report) - 1
    assert whole["delta"]["value"] == 0
    assert (lost["missing"], lost["delta"], lost["trait_score"]) == (half, None, None)
    assert lost["p_value"] is lost["coherence"] is None and set(lost) == set(whole)
    monkeypatch.setattr(cross, "open_bench", lambda *args: Bench([half, 0, 0]))
    with pytest.raises(TraitsteerError, match="cross evil, unsteered"):
        cross._scored(config, model, "evil", sent, [])


def test_a_delta_of_cross_is_that_of_the_samples_that_both_sides_have(config: Config) -> None:
    def scored(*values: tuple[int, int, float | None]) -> list[ScoredAnswer]:
        return [
            ScoredAnswer(question, sample, 0, "", value, 90.0, 1, "stop")
            for question, sample, value in values
        ]

    others = [(1 + n, sample, 10.0) for n in range(20) for sample in (0, 1)]
    raised = [(question, sample, value + 30.0) for question, sample, value in others]
    unsteered = scored((0, 0, 10.0), (0, 1, 50.0), *others)
    steered = scored((0, 0, 90.0), (0, 1, None), *raised)
    found = cross._measured(config, unsteered, steered)
    # The lost sample counts on neither side: 80 for this question, and not 90 - 30.
    assert found["delta"]["value"] == pytest.approx((80 + 20 * 30) / 21, abs=1e-4)


def test_what_is_off_topic_is_not_kept_however_well_it_is_written(config: Config) -> None:
    def kept(topic: float) -> bool:
        heard = [Said("scored", number) for number in (95.0, 90.0, topic)]
        response = {"id": "a", "polarity": "positive", "response_ids": [1]}
        return vet.verdict(response, judgement(*heard), config.vet, "").kept

    assert config.vet.coherence_at_least == 50
    assert kept(50.0) and not kept(49.9) and not kept(0.0)


@pytest.mark.parametrize("lost", [1, 2])
def test_responses_that_the_judge_left_out_are_counted_and_stop_the_study_above_a_share(
    config: Config, trait: Trait, tmp_path: Path, monkeypatch, lost: int
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        {"id": str(n), "polarity": polarity, "prompt": "", "text": "x", "response_ids": [1]}
        for n, polarity in enumerate(["positive"] * 10 + ["negative"] * 10)
    ]
    monkeypatch.setattr(vet, "read_responses", lambda *args: rows)

    def judged(*args: Any) -> Any:
        for n in range(20):
            score = None if 10 <= n < 10 + lost else 90.0 if n < 10 else 5.0
            yield n, Judgement(score, 90.0)

    monkeypatch.setattr(vet, "frozen_extraction", lambda *args: "")
    monkeypatch.setattr(vet, "trait_of", lambda *args: trait)
    monkeypatch.setattr(vet, "open_judge", lambda *args: None)
    monkeypatch.setattr(vet, "judge_all", judged)
    config = config.model_copy(update={"vet": config.vet.model_copy(update={"minimum": 2})})
    if lost == 1:
        vet.run(config, "evil", "natural")
        counts = read_json(layout.vet_counts("evil", "natural"))
        assert (counts["negative_kept"], counts["negative_not_judged"]) == (9, 1)
        assert (counts["positive_kept"], counts["positive_not_judged"]) == (10, 0)
    else:
        with pytest.raises(TraitsteerError, match="2 of 10 negative responses lack a score"):
            vet.run(config, "evil", "natural")
        assert not layout.verdicts("evil", "natural").exists()


def test_empty_responses_are_dropped_and_not_judged(
    tmp_path: Path, config: Config, trait: Trait, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        {"id": str(n), "polarity": side, "prompt": "", "text": "x" * n, "response_ids": [1] * n}
        for side, numbers in (("positive", (0, 1, 2)), ("negative", (3, 4)))
        for n in numbers
    ]
    monkeypatch.setattr(vet, "read_responses", lambda *args: rows)

    def judged(_judge: Any, _trait: str, answers: Any) -> Any:
        assert [answer.text for answer in answers] == ["x", "xx", "xxx", "xxxx"]
        # In another order than they were asked in.
        yield from ((n, Judgement(90.0 if n < 2 else 5.0, 80.0 + n)) for n in (3, 1, 0, 2))

    monkeypatch.setattr(vet, "frozen_extraction", lambda *args: "")
    monkeypatch.setattr(vet, "trait_of", lambda *args: trait)
    monkeypatch.setattr(vet, "open_judge", lambda *args: None)
    monkeypatch.setattr(vet, "judge_all", judged)
    few = config.vet.model_copy(update={"minimum": 1})
    vet.run(config.model_copy(update={"vet": few}), "evil", "natural")
    found = read_jsonl(layout.verdicts("evil", "natural"))
    assert [(each["id"], each["reason"], each["coherence"]) for each in found] == [
        ("0", "empty", None),
        ("1", "", 80.0),
        ("2", "", 81.0),
        ("3", "", 82.0),
        ("4", "", 83.0),
    ]
    counts = read_json(layout.vet_counts("evil", "natural"))
    assert (counts["positive"], counts["positive_kept"], counts["positive_not_judged"]) == (3, 2, 0)


def test_the_page_says_what_is_missing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    # The words alone are looked at; drawing takes most of the time.
    monkeypatch.setattr(report, "_drawn", lambda figures: dict.fromkeys(figures, ""))
    config = configuration()
    write_study(config)
    report.run(config)
    silent = (
        r"under the system prompts lack|lack too many scores|the frontier leaves it out"
        r"|lack a score|\d not judged"
    )
    assert not re.search(silent, layout.REPORT.read_text(encoding="utf-8"))

    path = layout.evaluation("evil", "instruction") / "mean_difference.json"
    found = read_json(path)
    empty = {"pooled": None, "each": [], "p_value": None, "difference": None}
    for kind, family in found["nulls"].items():
        count = len(family["each"])
        found["nulls"][kind] = empty | {"missing": [f"{kind}-{n}" for n in range(count)]}
    found |= {"random": None, "random_each": [], "frontier_missing": [0.75, 0.9]}
    found["prompted"] = None
    write_json(path, found)
    comparison = read_json(layout.COMPARISON)
    for row in comparison["results"]:
        if (row["trait"], row["arm"]) == ("evil", "instruction"):
            row["random"] = None
    write_json(layout.COMPARISON, comparison)
    rows = read_json(layout.CROSS)
    nothing = dict.fromkeys(("trait_score", "delta", "p_value", "coherence"))
    for row in rows:
        if row["vector"] != row["scored"] == "evil":
            row |= nothing | {"missing": 17}
    write_json(layout.CROSS, rows)
    path = layout.vet_counts("evil", "natural")
    write_json(path, read_json(path) | {"negative_not_judged": 3})
    report.run(config)
    text = re.sub(r"\s+", " ", layout.REPORT.read_text(encoding="utf-8"))
    for said in (
        "evil (instruction): 5 of 5 shuffled vectors lack too many scores",
        "evil (instruction): 1 of 1 negated vectors lack too many scores",
        "at strength 0.75, 0.9 too many scores are missing",
        "evil (instruction): too many answers under the system prompts lack a score",
        "not measured<small>17 answers lack a score</small>",
        "<small>3 not judged</small>",
        "<small>3 without a token to pool</small>",
    ):
        assert said in text
