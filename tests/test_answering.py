"""A steered run: pairs of seeds, the cache, and a planted direction that a scorer can see."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from threading import Event

import pytest
import torch
from letter_judge import QUESTIONS, LetterJudge
from steering_oracle import slow_reference

from traitsteer.engine.rows import Batching, Row, Sampling, Steering
from traitsteer.experiment.answering import Bench, Setting
from traitsteer.words import scores
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer, Judgement
from traitsteer.world.model import software
from traitsteer.world.model.language_model import LanguageModel


@pytest.fixture
def bench(llama: LanguageModel, tmp_path: Path) -> Bench:
    return Bench(llama, LetterJudge("q"), Sampling(12, 0.3), "all", 5, Batching(32, 512), tmp_path)


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


def test_a_finished_run_is_not_answered_again_and_a_changed_one_is(
    bench: Bench, monkeypatch
) -> None:
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
    other = LetterJudge("q")
    other.digest = "of another judge"
    for changed in (
        replace(bench, model=replace(bench.model, digest="of another model")),
        replace(bench, judge=other),
        replace(bench, sampling=Sampling(12, 0.4)),
        replace(bench, sampling=Sampling(11, 0.3)),
        replace(bench, steered="response"),
        replace(bench, seed=6),
    ):
        before = changed.judge.asked
        for _ in range(2):
            changed.answers(QUESTIONS, settings, 2)
            assert changed.judge.asked == before + 6
    before = bench.judge.asked
    replace(bench, batching=Batching(3, 64)).answers(QUESTIONS, settings, 2)
    assert bench.judge.asked == before, "what is decoded together changes no answer"
    monkeypatch.setattr(software, "version", lambda package: f"another {package}")
    bench.answers(QUESTIONS, settings, 2)
    assert bench.judge.asked == before + 6


def test_answers_are_steered_where_the_study_says(bench: Bench) -> None:
    vector, said = unembedding(bench.model, "q"), set()
    for positions in ("all", "prompt", "response"):
        steered = replace(bench, steered=positions)
        [found] = steered.answers(QUESTIONS, [Setting(1, vector, 40.0)], 1)
        for answer in found:
            steering = Steering(1, vector, 40.0, positions)
            row = Row(bench.model.encode(QUESTIONS.texts[answer.question]), answer.seed, steering)
            ids = slow_reference(bench.model, row, bench.sampling)
            assert answer.text == bench.model.decode(tuple(ids))
        said.add(tuple(answer.text for answer in found))
    assert len(said) == 3


def test_a_system_prompt_and_a_number_of_samples_travel_with_the_setting(bench: Bench) -> None:
    plain = Setting(0, torch.zeros(32), 0.0)
    told = replace(plain, samples=1, system="Say q.", first_sample=1)
    baseline, prompted = bench.answers(QUESTIONS, [plain, told], 2)
    assert [(a.question, a.sample) for a in prompted] == [(0, 1), (1, 1), (2, 1)]
    assert [a.seed for a in prompted] == [a.seed for a in baseline if a.sample == 1]
    assert all(a.text != b.text for a, b in zip(prompted, baseline[1::2], strict=True))
    [again] = bench.answers(QUESTIONS, [replace(told, system=None)], 2)
    assert again == baseline[1::2], "without the system prompt it is the baseline again"
    asked = bench.judge.asked
    assert bench.answers(QUESTIONS, [told], 7) == [prompted]
    assert bench.judge.asked == asked
    bench.answers(QUESTIONS, [replace(told, system="Say more q.")], 7)
    assert bench.judge.asked == asked + 3
    bare = replace(bench, model=replace(bench.model, chat=False))
    with pytest.raises(TraitsteerError, match="cannot take a system prompt"):
        bare.answers(QUESTIONS, [told], 1)


def test_a_missing_score_is_left_out_of_the_mean_and_counted(bench: Bench) -> None:
    [answers] = bench.answers(QUESTIONS, [Setting(0, torch.zeros(32), 0.0)], 2)
    lost = [replace(a, trait_score=None) if a.question == 0 else a for a in answers]
    kept = [a for a in answers if a.question != 0]
    assert scores.mean(lost, "trait_score") == scores.mean(kept, "trait_score")
    assert scores.missing(lost) == 2
    assert scores.mean([replace(a, coherence=None) for a in answers], "coherence") is None


def many(bench: Bench, settings: int) -> list[Setting]:
    return [Setting(1, unembedding(bench.model, "q"), float(n)) for n in range(settings)]


def test_the_judge_begins_while_answers_are_still_being_generated(bench: Bench) -> None:
    """The judge's first call waits for the last answer: one after the other would wait for ever."""
    generated, all_there = [], Event()

    class Waiting(LetterJudge):
        def score(self, trait: str, answers: Sequence[Answer]) -> list[Judgement]:
            assert all_there.wait(timeout=60), "the generator stood still while the judge was asked"
            return super().score(trait, answers)

    def count(done: int) -> None:
        generated.append(done)
        if len(generated) == 1 + 24 * 6:
            all_there.set()

    waiting = replace(bench, judge=Waiting("q"))
    answers = waiting.answers(QUESTIONS, many(bench, 24), 2, progress=count)
    assert answers == replace(bench, cache=bench.cache / "other").answers(
        QUESTIONS, many(bench, 24), 2
    )


def test_an_interrupted_run_keeps_the_settings_that_were_complete(bench: Bench) -> None:
    class Dying(LetterJudge):
        def score(self, trait: str, answers: Sequence[Answer]) -> list[Judgement]:
            if self.asked >= 128:
                raise TraitsteerError("The judge is gone.")
            return super().score(trait, answers)

    settings = many(bench, 40)
    with pytest.raises(TraitsteerError, match="gone"):
        replace(bench, judge=Dying("q")).answers(QUESTIONS, settings, 2)
    files = [path.read_text() for path in (bench.cache / "answers").iterdir()]
    judged = sum('"failed"' not in text for text in files)
    assert 1 <= judged <= 128 // 6
    answers = bench.answers(QUESTIONS, settings, 2)
    asked = sum(text.count('"failed"') for text in files) + (40 - len(files)) * 6
    assert bench.judge.asked == asked, "what was paid for is asked again"
    assert answers == replace(bench, cache=bench.cache / "other").answers(QUESTIONS, settings, 2)


def test_answers_that_wait_for_the_judge_are_kept(bench: Bench, monkeypatch) -> None:
    class Killed(LetterJudge):
        def score(self, trait: str, answers: Sequence[Answer]) -> list[Judgement]:
            raise KeyboardInterrupt

    settings = many(bench, 3)
    whole = replace(bench, cache=bench.cache / "other").answers(QUESTIONS, settings, 2)
    with pytest.raises(KeyboardInterrupt):
        replace(bench, judge=Killed("q")).answers(QUESTIONS, settings, 2)
    monkeypatch.setattr("traitsteer.experiment.answering.generate", None)
    assert bench.answers(QUESTIONS, settings, 2) == whole


def test_what_the_judge_failed_to_score_is_judged_again_and_not_generated_again(
    bench: Bench, monkeypatch
) -> None:
    class Down(LetterJudge):
        def score(self, trait: str, answers: Sequence[Answer]) -> list[Judgement]:
            states = ("failed", "refused", "scored")
            return [Judgement(None, None, states[n % 3]) for n, _ in enumerate(answers)]

    settings = many(bench, 2)
    down = replace(bench, judge=Down("q")).answers(QUESTIONS, settings, 2)
    lost = [answer for of in down for answer in of if answer.state == "failed"]
    assert len(lost) == 4
    monkeypatch.setattr("traitsteer.experiment.answering.generate", None)
    again = bench.answers(QUESTIONS, settings, 2)
    assert bench.judge.asked == len(lost)
    whole = LetterJudge("q")
    for before, after in zip(chain(*down), chain(*again), strict=True):
        [score] = whole.score("trait", [Answer("", before.text)])
        new = before.state == "failed"
        expected = {"trait_score": score.trait_score, "coherence": 80.0, "state": "scored"}
        assert after == (replace(before, **expected) if new else before)
    assert bench.answers(QUESTIONS, settings, 2) == again
    assert bench.judge.asked == len(lost), "judged again and not kept"


def test_another_judge_scores_the_answers_that_there_are(bench: Bench, monkeypatch) -> None:
    class Other(LetterJudge):
        digest = "other"

    settings, other = many(bench, 3), replace(bench, judge=Other("e"))
    first = bench.answers(QUESTIONS, settings, 2)
    straight = replace(other, cache=bench.cache / "other").answers(QUESTIONS, settings, 2)
    monkeypatch.setattr("traitsteer.experiment.answering.generate", None)
    asked, done = other.judge.asked, []
    found = other.answers(QUESTIONS, settings, 2, progress=done.append)
    assert found == straight != first
    assert other.judge.asked == asked + 3 * 6 and sum(done) == 3 * 6
    # Both are kept now, each beside the other.
    asked = bench.judge.asked + other.judge.asked
    assert bench.answers(QUESTIONS, settings, 2) == first
    assert other.answers(QUESTIONS, settings, 2) == straight
    assert bench.judge.asked + other.judge.asked == asked


def test_some_questions_only_and_cut_loops(bench: Bench) -> None:
    settings = many(bench, 3)
    whole = bench.answers(QUESTIONS, settings, 2)
    some = bench.answers(QUESTIONS, settings, 2, only=[2, 0])
    for all_of_them, part in zip(whole, some, strict=True):
        assert part == all_of_them[4:6] + all_of_them[:2]
    loud = [Setting(1, unembedding(bench.model, "q"), 500.0)]
    long = replace(bench, sampling=Sampling(60, 0.0))
    [cut] = long.answers(QUESTIONS, loud, 1, cut_loops=True)
    [uncut] = long.answers(QUESTIONS, loud, 1)
    assert {a.finish for a in cut} == {"loop"} and {a.tokens for a in uncut} == {60}
    assert all(c.tokens < u.tokens for c, u in zip(cut, uncut, strict=True))
