"""A steered run: pairs of seeds, the cache, and a planted direction that a scorer can see."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from traitsteer.engine.generation import Sampling
from traitsteer.experiment.answering import Bench, Questions, Setting
from traitsteer.words import scores
from traitsteer.words.records import Answer, Judgement
from traitsteer.world.language_model import LanguageModel

QUESTIONS = Questions("trait", "selection", ("the cat sees", "a big dog", "never the blue"))


class LetterJudge:
    """Scores the share of one byte among the characters; an empty answer has no score."""

    digest = "letter"

    def __init__(self, letter: str) -> None:
        self.letter = letter
        self.asked = 0

    def score(self, trait: str, answers: Sequence[Answer]) -> list[Judgement]:
        self.asked += len(answers)
        return [
            Judgement(100 * a.text.count(self.letter) / len(a.text), 80.0)
            if a.text
            else Judgement(None, None)
            for a in answers
        ]


@pytest.fixture
def bench(llama: LanguageModel, tmp_path: Path) -> Bench:
    return Bench(llama, LetterJudge("q"), Sampling(12, 0.3), "all", 5, 32, 512, tmp_path)


def unembedding(model: LanguageModel, letter: str) -> torch.Tensor:
    """The direction that the last block must gain for the model to say this letter."""
    token = model.tokenizer(letter, add_special_tokens=False)["input_ids"][0]
    row = model.model.get_output_embeddings().weight[token].float().clone()
    return row / row.norm()


def test_a_planted_direction_raises_its_score_and_a_random_one_does_not(bench: Bench) -> None:
    planted = unembedding(bench.model, "q")
    other = torch.randn(32, generator=torch.Generator().manual_seed(1))
    settings = [
        Setting(2, v, c) for v, c in [(planted, 0), (planted, 400), (other / other.norm(), 400)]
    ]
    baseline, steered, random = (
        scores.mean(answers, "trait_score") for answers in bench.answers(QUESTIONS, settings, 4)
    )
    assert steered > baseline + 50
    assert random < baseline + 20


def test_seeds_pair_settings_and_part_question_sets(bench: Bench) -> None:
    vector = unembedding(bench.model, "q")
    settings = [Setting(0, vector, 0.0), Setting(1, vector, 3.0)]
    baseline, steered = bench.answers(QUESTIONS, settings, 2)
    assert [a.seed for a in baseline] == [a.seed for a in steered]
    assert len({a.seed for a in baseline}) == len(baseline)
    [report] = bench.answers(replace(QUESTIONS, purpose="report"), settings[:1], 2)
    assert not {a.seed for a in report} & {a.seed for a in baseline}
    [fresh] = bench.answers(QUESTIONS, [replace(settings[0], first_sample=2)], 2)
    assert [a.sample for a in fresh] == [2, 3] * 3
    assert not {a.seed for a in fresh} & {a.seed for a in baseline}


def test_a_finished_run_is_not_answered_again_and_a_changed_one_is(bench: Bench) -> None:
    vector = unembedding(bench.model, "q")
    settings = [Setting(1, vector, 3.0)]
    first = bench.answers(QUESTIONS, settings, 2)
    asked = bench.judge.asked
    assert bench.answers(QUESTIONS, settings, 2) == first
    assert bench.judge.asked == asked
    for changed in (
        Setting(2, vector, 3.0),
        Setting(1, -vector, 3.0),
        Setting(1, vector, 3.1),
        Setting(1, vector, 3.0, first_sample=1),
    ):
        bench.answers(QUESTIONS, [changed], 2)
        asked += 6
        assert bench.judge.asked == asked
    bench.answers(replace(QUESTIONS, texts=QUESTIONS.texts[:1]), settings, 2)
    assert bench.judge.asked == asked + 2


def test_a_missing_score_is_left_out_of_the_mean_and_counted(bench: Bench) -> None:
    [answers] = bench.answers(QUESTIONS, [Setting(0, torch.zeros(32), 0.0)], 2)
    lost = [replace(a, trait_score=None) if a.question == 0 else a for a in answers]
    kept = [a for a in answers if a.question != 0]
    assert scores.mean(lost, "trait_score") == scores.mean(kept, "trait_score")
    assert scores.missing(lost) == 2
    assert scores.mean([replace(a, coherence=None) for a in answers], "coherence") is None
