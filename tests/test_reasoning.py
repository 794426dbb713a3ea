"""Reasoning is generated and recorded, and neither pooled nor judged."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from letter_judge import QUESTIONS, LetterJudge
from reading_oracle import block_outputs, close
from tiny import build, tokenizer

from traitsteer.engine.reading import Recorded, pooled_activations
from traitsteer.engine.rows import Batching, Sampling
from traitsteer.experiment.answering import Bench, Setting
from traitsteer.maths.positions import Position
from traitsteer.words import scores
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer, Judgement
from traitsteer.world.model.language_model import LanguageModel, load
from traitsteer.world.model.reasoning import Parts, Thinking, parts

MARKS = Thinking("<think>", "</think>")
WORDS = tokenizer()


def ids(text: str) -> tuple[int, ...]:
    return tuple(WORDS(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize(
    ("prompt", "reasoning", "answer"),
    [
        ("<assistant>", "<think>\nhm\n</think>\n\n", "No."),
        ("<assistant><think>\n", "hm </think>", "No."),
        ("<assistant>", "hm</think>\n", "No. </think> is a mark"),
        ("<assistant><think>\n\n</think>\n\n", "", "No."),
        ("<assistant>", "", "No."),
        ("<assistant>", "", ""),
    ],
)
def test_the_answer_begins_after_the_end_mark(prompt: str, reasoning: str, answer: str) -> None:
    found = parts(WORDS, MARKS, ids(prompt), ids(reasoning + answer))
    assert found == Parts(ids(reasoning), ids(answer), True)


@pytest.mark.parametrize(
    ("prompt", "reasoning"),
    [
        ("<assistant>", "<think> hm hm"),
        ("<assistant>", "<thi"),
        ("<assistant><think>", "hm hm"),
        ("<assistant><think>", ""),
        ("<assistant>", "<think> hm </think> \n"),
    ],
)
def test_reasoning_without_an_answer_leaves_an_empty_one(prompt: str, reasoning: str) -> None:
    assert parts(WORDS, MARKS, ids(prompt), ids(reasoning)) == Parts(ids(reasoning), (), False)


def test_without_marks_all_is_answer() -> None:
    everything = ids("<think> hm </think> No.")
    assert parts(WORDS, None, ids("x"), everything) == Parts((), everything, True)


def test_a_mark_may_share_its_last_token_with_the_answer() -> None:
    """The token goes to the reasoning: ids are never cut."""

    class Merging:
        pieces = ("<think>", "hm ", "</thi", "nk>\n\nNo", ", never")

        def decode(self, some: list[int], skip_special_tokens: bool) -> str:
            return "".join(self.pieces[i] for i in some)

    assert parts(Merging(), MARKS, (), (0, 1, 2, 3, 4)) == Parts((0, 1, 2, 3), (4,), True)


def test_positions_of_the_response_begin_after_the_reasoning(llama: LanguageModel) -> None:
    item = Recorded("one", (7, 8, 9), (30, 31, 32, 33), reasoning_ids=(20, 21, 22, 23, 24))
    whole = block_outputs(llama, Recorded("one", item.prompt_ids, item.ids[3:]))
    for text, tokens in (
        ("response[:2]", [8, 9]),
        ("response[-1]", [11]),
        ("prompt[-1]", [2]),
        ("all[:]", list(range(12))),
    ):
        [pooled] = pooled_activations(llama, [item], Position.parse(text), 64)
        assert close(pooled, whole[:, tokens].mean(dim=1))
    unanswered = replace(item, response_ids=())
    with pytest.raises(TraitsteerError, match="selects no token"):
        pooled_activations(llama, [unanswered], Position.parse("response[:2]"), 64)


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A random model whose template opens the reasoning, and which often writes the end mark.

    The mark is one character here, since a random model spells no longer one.
    """
    folder = tmp_path_factory.mktemp("thinker")
    build(folder, "llama", seed=3)
    return load(str(folder), chat=True, device="cpu", thinking=Thinking("<assistant>", "~"))


class Reader(LetterJudge):
    """Remembers what it was given to read."""

    def __init__(self) -> None:
        super().__init__("q")
        self.read: list[str] = []

    def score(self, trait: str, answers: list[Answer]) -> list[Judgement]:
        self.read += [answer.text for answer in answers]
        return super().score(trait, answers)


def test_the_judge_reads_answers_alone_and_the_rest_is_counted(
    thinker: LanguageModel, tmp_path: Path
) -> None:
    judge = Reader()
    bench = Bench(thinker, judge, Sampling(40, 1.5), "all", 5, Batching(32, 512), tmp_path)
    [found] = bench.answers(QUESTIONS, [Setting(0, torch.zeros(32), 0.0)], 12)
    unanswered = [answer for answer in found if answer.state == "no answer"]
    answered = [answer for answer in found if answer.state == "scored"]
    assert unanswered and answered and len(unanswered) + len(answered) == 36
    assert scores.missing(unanswered) == len(unanswered)
    assert sorted(judge.read) == sorted(answer.text for answer in answered)
    assert {answer.text for answer in unanswered} == {""}
    assert all("~" in answer.reasoning for answer in answered)
    plain = replace(bench, model=replace(thinker, thinking=None), cache=tmp_path / "other")
    [whole] = plain.answers(QUESTIONS, [Setting(0, torch.zeros(32), 0.0)], 12)
    assert [a.reasoning + a.text for a in found] == [a.text for a in whole], "the same tokens"
    assert len(list((tmp_path / "answers").iterdir())) == 1
    replace(plain, cache=tmp_path).answers(QUESTIONS, [Setting(0, torch.zeros(32), 0.0)], 12)
    assert len(list((tmp_path / "answers").iterdir())) == 2, "answers are kept by their marks"
