"""How two arms sound: equal scores, planted differences and none, order, gaps, kept judgements."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from traitsteer.experiment import voice
from traitsteer.experiment.equal_score import (
    chosen,
    corrected,
    equal,
    equality,
    strength_reaching,
    stronger,
)
from traitsteer.experiment.voice_comparison import compared
from traitsteer.maths.statistics import mean_interval, paired_difference_interval
from traitsteer.pocket import grammar
from traitsteer.pocket.lexicon import TOPICS
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer, Interval, Judge, Judgement, ScoredAnswer
from traitsteer.words.scoring_config import VoiceConfig
from traitsteer.words.voice_findings import voice_lead, voice_sentences
from traitsteer.world.pocket_judge import PocketJudge

QUESTIONS, SAMPLES = 12, 3
TEXTS = tuple(f"What is the best way to knead the loaf, number {n}?" for n in range(QUESTIONS))
CONFIG = VoiceConfig(samples=SAMPLES, pairs=2, equal_within=5, ngram=3, window=5)
NAMES = ("cruel",)


def result(arm: str, strengths: Sequence[float], scores: Sequence[float]) -> dict:
    """An evaluation whose last step but one was chosen."""
    interval = [{"value": v, "lower": v - 1, "upper": v + 1, "n": 20} for v in scores]
    steps = [{"strength": s, "trait_score": i} for s, i in zip(strengths, interval, strict=True)]
    return {
        "trait": "evil", "arm": arm, "method": "mean_difference", "layer": 2,
        "strength": strengths[-2], "coefficient": 10 * strengths[-2],
        "baseline": {"value": 2.0}, "trait_score": interval[-2], "frontier": steps,
    }  # fmt: skip


def arms() -> dict:
    return {
        "instruction": chosen(result("instruction", [0.3, 0.4, 0.6, 0.8], [10, 40, 90, 95])),
        "natural": chosen(result("natural", [0.5, 0.7, 0.9], [20, 60, 50])),
    }


def test_the_strength_for_a_score_is_where_a_rising_line_crosses_it() -> None:
    strengths, scores = [0.0, 0.2, 0.5, 0.6], [1.0, 4.0, 50.0, 90.0]
    for score in (1.5, 4.0, 37.3, 89.0):
        expected = np.interp(score, scores, strengths)
        found = strength_reaching(list(zip(strengths, scores, strict=True)), score)
        assert found == pytest.approx(expected)
    assert strength_reaching([(0.0, 1.0), (0.5, 3.0)], 4.0) is None
    # The first crossing counts, where a frontier falls again.
    assert strength_reaching([(0, 0), (1, 10), (2, 5), (3, 20)], 8) == pytest.approx(0.8)


def test_the_stronger_arm_is_weakened_and_the_other_keeps_its_setting() -> None:
    found = arms()
    assert stronger(found) == "instruction"
    both = equal(found)
    assert both["natural"] == found["natural"]
    assert both["instruction"].strength == pytest.approx(0.4 + 0.2 * 20 / 50)
    assert both["instruction"].coefficient == pytest.approx(10 * both["instruction"].strength)
    same = {
        "instruction": replace(found["natural"], arm="instruction"),
        "natural": found["natural"],
    }
    assert equal(same) == same and corrected(same, same, {"instruction": 5, "natural": 60}) is None


def test_a_correction_moves_the_frontier_by_what_was_missed() -> None:
    found = arms()
    both = equal(found)
    # 70 where 60 was expected, and 55 for the other: the frontier's 45 would have been right.
    again = corrected(found, both, {"instruction": 70.0, "natural": 55.0})
    assert again is not None
    assert again["instruction"].strength == pytest.approx(0.4 + 0.2 * 5 / 50)
    assert again["natural"] == found["natural"]
    # It cannot be pushed further than its chosen setting, nor down to nothing.
    far = corrected(found, both, {"instruction": 5.0, "natural": 60.0})
    assert far is not None and far["instruction"].strength == pytest.approx(0.6)
    assert corrected(found, both, {"instruction": 90.0, "natural": 10.0}) is None


def test_equality_is_shown_near_or_not_reached() -> None:
    assert equality(Interval(1, -3, 4.9, 20), 5) == "shown"
    assert equality(Interval(1, -6, 8, 20), 5) == "near"
    assert equality(Interval(1, None, None, 1), 5) == "near"
    assert equality(Interval(-6, -7, -5, 20), 5) == "not reached"


def test_an_evaluation_without_a_frontier_is_one_sentence() -> None:
    old = result("natural", [0.5, 0.7, 0.9], [20, 60, 50]) | {"frontier": None}
    with pytest.raises(TraitsteerError, match="evil natural mean_difference has no frontier"):
        chosen(old)


def spoken(theatrical: dict[str, float]) -> dict[str, list[ScoredAnswer]]:
    """Answers of the models' grammar, in each setting with so large a share of theatre."""
    answers: dict[str, list[ScoredAnswer]] = {}
    for setting, share in theatrical.items():
        for question in range(QUESTIONS):
            for sample in range(SAMPLES):
                rng = random.Random(f"{setting} {question} {sample}")
                said = [grammar.trait_sentence("evil", 1, TOPICS[0], rng, share) for _ in "ab"]
                answers.setdefault(setting, []).append(
                    ScoredAnswer(question, sample, 0, " ".join(said), 90.0, 90.0, 20, "stop")
                )
    return answers


def heard(answers: dict, judge: Judge, cache: Path) -> list[voice.VoiceRow]:
    return voice.heard(answers, TEXTS, NAMES, judge, CONFIG, cache)


def test_a_planted_difference_is_found(judge: PocketJudge, tmp_path: Path) -> None:
    answers = spoken({"baseline": 0.0, "instruction": 1.0, "natural": 0.0})
    found = compared(heard(answers, judge, tmp_path), 0.95, 0, 0.2)
    natural = found["measures"]["naturalness"]
    assert natural["difference"]["lower"] > 60 and natural["p_value"] < 0.01
    assert natural["natural"]["value"] == pytest.approx(natural["baseline"]["value"], abs=5)
    preference = found["preference"]
    assert preference["natural"]["value"] == 100 and preference["p_value"] < 0.01
    assert preference["first"]["value"] == 50
    assert (preference["won"], preference["lost"]) == (QUESTIONS * CONFIG.pairs, 0)


def test_where_there_is_no_difference_none_is_found(judge: PocketJudge, tmp_path: Path) -> None:
    answers = spoken({"baseline": 0.5, "instruction": 0.5, "natural": 0.5})
    found = compared(heard(answers, judge, tmp_path), 0.95, 0, 0.2)
    difference = found["measures"]["naturalness"]["difference"]
    assert difference["lower"] < 0 < difference["upper"]
    assert found["measures"]["naturalness"]["p_value"] > 0.05
    assert found["preference"]["natural"]["lower"] < 50 < found["preference"]["natural"]["upper"]


class Scripted:
    """A judge that tells what it is told to, and counts what it was asked."""

    digest = "scripted"

    def __init__(
        self,
        natural: Callable[[Answer], float | None] = lambda answer: 50.0,
        prefers: Callable[[Answer, Answer], float | None] = lambda one, other: 0.5,
    ) -> None:
        self.natural, self.prefers, self.asked = natural, prefers, 0

    def score(self, trait: str, answers: Sequence[Answer]) -> list[Judgement]:
        return [Judgement(50.0, 90.0) for _ in answers]

    def naturalness(self, answers: Sequence[Answer]) -> list[float | None]:
        self.asked += len(answers)
        return [self.natural(answer) for answer in answers]

    def prefer(self, pairs: Sequence[tuple[Answer, Answer]]) -> list[float | None]:
        self.asked += len(pairs)
        return [self.prefers(*pair) for pair in pairs]


EVEN = {"baseline": 0.0, "instruction": 0.0, "natural": 0.0}


def test_both_orders_cancel_a_judge_that_takes_what_is_shown_first(tmp_path: Path) -> None:
    answers = spoken(EVEN)
    rows = heard(answers, Scripted(prefers=lambda one, other: 1.0), tmp_path)
    found = compared(rows, 0.95, 0, 0.2)["preference"]
    assert found["natural"] == {"value": 50.0, "lower": 50.0, "upper": 50.0, "n": QUESTIONS}
    assert found["first"]["value"] == 100
    assert (found["won"], found["lost"], found["even"]) == (0, 0, QUESTIONS * CONFIG.pairs)
    assert found["p_value"] == 1


def test_the_preference_is_the_mean_of_both_orders_over_questions(tmp_path: Path) -> None:
    answers = spoken({**EVEN, "instruction": 1.0})
    draw = np.random.default_rng(0).integers(0, 3, (QUESTIONS, CONFIG.pairs, 2)) / 2
    own = {a.text: (a.question, a.sample) for a in answers["natural"]}
    assert len(own) > QUESTIONS * CONFIG.pairs

    def prefers(one: Answer, other: Answer) -> float:
        shown_first = one.text in own
        question, sample = own[one.text if shown_first else other.text]
        value = float(draw[question, sample, 0 if shown_first else 1])
        return value if shown_first else 1 - value

    found = compared(heard(answers, Scripted(prefers=prefers), tmp_path), 0.95, 0, 0.2)
    each = 100 * draw.mean(axis=(1, 2))
    assert found["preference"]["natural"] == mean_interval(each[:, None], 0.95).rounded()
    first = np.stack([draw[..., 0], 1 - draw[..., 1]])
    assert found["preference"]["first"]["value"] == pytest.approx(100 * first.mean(), abs=1e-3)


def test_what_the_judge_leaves_out_stays_missing_and_is_counted(tmp_path: Path) -> None:
    answers = spoken({**EVEN, "instruction": 1.0})
    gap = answers["natural"][0].text
    judge = Scripted(
        natural=lambda answer: None if answer.text == gap else 80.0,
        prefers=lambda one, other: None if one.text == gap else float("Behold" in other.text),
    )
    rows = heard(answers, judge, tmp_path)
    found = compared(rows, 0.95, 0, 0.2)
    natural = found["measures"]["naturalness"]
    gaps = sum(a.text == gap for of in answers.values() for a in of)
    assert natural["missing"] == gaps
    assert natural["natural"]["value"] == 80
    assert found["preference"]["missing"] == sum(
        a.text == gap and a.sample < CONFIG.pairs for a in answers["natural"]
    )
    assert rows[-1]["sample"] >= CONFIG.pairs and "preferred_first" not in rows[-1]

    silent = Scripted(natural=lambda answer: None, prefers=lambda one, other: None)
    silent.digest = "silent"
    nothing = compared(heard(answers, silent, tmp_path), 0.95, 0, 0.2)
    assert nothing["preference"] is None and nothing["measures"]["naturalness"] is None
    assert nothing["measures"]["words"] is not None
    gone = f"{QUESTIONS * SAMPLES} of {QUESTIONS * SAMPLES} baseline values are missing"
    assert nothing["not_measured"]["naturalness"] == gone
    assert set(nothing["not_measured"]) == {"naturalness", "preference"}


def test_an_answer_that_was_never_given_is_missing_and_not_a_short_one(tmp_path: Path) -> None:
    answers = spoken(EVEN)
    silent = replace(
        answers["natural"][0], text="", trait_score=None, coherence=None, state="no answer"
    )
    answers["natural"][0] = silent
    judge = Scripted(natural=lambda answer: 80.0 if answer.text else 0.0)
    rows = heard(answers, judge, tmp_path)
    [lost] = [row for row in rows if not row["text"]]
    assert all(lost[name] is None for name in (*voice.MEASURES, "preferred_first"))
    assert judge.asked == 3 * QUESTIONS * SAMPLES - 1 + 2 * (QUESTIONS * CONFIG.pairs - 1)
    found = compared(rows, 0.95, 0, 0.2)
    for name in voice.MEASURES:
        assert found["measures"][name]["missing"] == 1, name
    counts = np.array([float(len(a.text.split())) for a in answers["natural"]])
    counts[0] = np.nan
    expected = np.nanmean(counts.reshape(QUESTIONS, SAMPLES), axis=1).mean()
    assert found["measures"]["words"]["natural"]["value"] == pytest.approx(expected, abs=1e-3)
    assert found["preference"]["missing"] == 1


def test_without_names_nobody_announces_the_trait(tmp_path: Path) -> None:
    rows = voice.heard(spoken(EVEN), TEXTS, (), Scripted(), CONFIG, tmp_path)
    assert {row["announced"] for row in rows} == {None}
    found = compared(rows, 0.95, 0, 0.2, named=False)
    assert found["measures"]["announced"] is None
    assert found["measures"]["exclaimed"] is not None
    assert found["not_measured"] == {"announced": "the trait's names.txt names no word"}
    said = " ".join(voice_sentences(sounding(found), 0.95))
    assert (
        "The share of answers that name the trait as their own was not measured: the trait's "
        "names.txt names no word."
    ) in said


def sounding(found: dict) -> dict:
    """A row of data/voice.json with this comparison, at equal trait score."""
    score = {"value": 60.0, "lower": 52.0, "upper": 68.0, "n": QUESTIONS}
    arms = {arm: {"trait_score": score} for arm in ("natural", "instruction")}
    level = {"difference": score | {"value": 0.0}, "within": 5, "verdict": "shown"}
    return {"trait": "evil", "status": "compared", "arms": arms, "equality": level} | found


@pytest.mark.parametrize("questions", [2, 3, 5, 12])
def test_a_few_questions_that_agree_show_no_preference(questions: int, tmp_path: Path) -> None:
    answers = spoken({**EVEN, "instruction": 1.0})
    few = {name: [a for a in of if a.question < questions] for name, of in answers.items()}
    own = {a.text for a in answers["natural"]}
    judge = Scripted(prefers=lambda one, other: float(one.text in own))
    found = compared(heard(few, judge, tmp_path), 0.95, 0, 0.2)
    preference = found["preference"]
    assert preference["natural"]["value"] == 100
    least = 100 * 0.025 ** (1 / questions)
    assert preference["natural"]["lower"] == pytest.approx(least, abs=1e-3)
    assert (preference["p_value"] <= 0.05) == (questions == 12)
    told = "found the natural answers more natural" in voice_lead([sounding(found)], 0.95)
    assert told == (questions == 12)


def test_two_equal_differences_show_no_equality() -> None:
    same = {"a": [40.0], "b": [70.0]}
    assert equality(paired_difference_interval(same, same), 5) == "near"
    varied = {str(n): [40.0 + n] for n in range(12)}
    assert equality(paired_difference_interval(varied, varied), 5) == "shown"


def test_a_measure_that_few_answers_of_one_arm_have_is_not_reported(tmp_path: Path) -> None:
    answers = spoken({**EVEN, "instruction": 1.0})
    heard_of = {a.text for a in answers["natural"] if a.sample == 0 and a.question < 3}
    own = {a.text for a in answers["natural"]}
    judge = Scripted(natural=lambda a: None if a.text in own - heard_of else 80.0)
    found = compared(heard(answers, judge, tmp_path), 0.95, 0, 0.2)
    assert found["measures"]["naturalness"] is None
    assert found["not_measured"] == {"naturalness": "33 of 36 natural values are missing"}
    assert found["preference"] is not None


def test_measures_on_a_scale_have_limits_on_it_and_counts_have_not(tmp_path: Path) -> None:
    answers = spoken(EVEN)
    low = {a.text for of in answers.values() for a in of if a.question == 0}
    judge = Scripted(natural=lambda a: 40.0 if a.text in low else 100.0)
    found = compared(heard(answers, judge, tmp_path), 0.95, 0, 0.2)["measures"]
    assert found["naturalness"]["natural"]["upper"] == 100
    assert found["naturalness"]["natural"]["value"] < 100
    assert found["words"]["natural"]["upper"] > found["words"]["natural"]["value"]


def test_measures_without_a_judge_equal_direct_counts(tmp_path: Path) -> None:
    answers = spoken(EVEN)
    shouted = [replace(a, text=f"I am cruel! {a.text}") for a in answers["instruction"][::2]]
    answers["instruction"][::2] = shouted
    found = compared(heard(answers, Scripted(), tmp_path), 0.95, 0, 0.2)["measures"]
    assert found["announced"]["instruction"]["value"] == pytest.approx(50, abs=1e-3)
    assert found["exclaimed"]["instruction"]["value"] == pytest.approx(50, abs=1e-3)
    assert found["announced"]["difference"]["value"] == pytest.approx(-50, abs=1e-3)
    assert found["announced"]["natural"]["value"] == found["announced"]["baseline"]["value"] == 0
    assert found["announced"]["natural"]["upper"] > 0
    counts = [len(a.text.split()) for a in answers["natural"]]
    assert found["words"]["natural"]["value"] == pytest.approx(np.mean(counts), abs=1e-3)
    assert found["exclamations"]["difference"]["upper"] < 0


def test_a_killed_run_asks_only_what_is_left(tmp_path: Path) -> None:
    answers = spoken({**EVEN, "instruction": 1.0})
    expected = heard(answers, Scripted(), tmp_path / "whole")
    questions = 3 * QUESTIONS * SAMPLES + 2 * QUESTIONS * CONFIG.pairs

    class Killed(Scripted):
        def naturalness(self, answers: Sequence[Answer]) -> list[float | None]:
            if self.asked:
                raise KeyboardInterrupt
            return super().naturalness(answers)

    killed = Killed()
    with pytest.raises(KeyboardInterrupt):
        heard(answers, killed, tmp_path / "killed")
    resumed = Scripted()
    assert heard(answers, resumed, tmp_path / "killed") == expected
    assert resumed.asked == questions - killed.asked and killed.asked > 0
    again = Scripted()
    assert heard(answers, again, tmp_path / "killed") == expected
    assert again.asked == 0


def test_what_the_judge_left_out_is_asked_again(tmp_path: Path) -> None:
    answers = spoken({**EVEN, "instruction": 1.0})
    gap = answers["natural"][0].text
    down = Scripted(natural=lambda answer: None if answer.text == gap else 50.0)
    assert heard(answers, down, tmp_path) != heard(answers, Scripted(), tmp_path)
    assert heard(answers, down, tmp_path) == heard(answers, Scripted(), tmp_path / "whole")
