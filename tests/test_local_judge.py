"""The judge in this process: its distributions against every path, its batches, its states."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import OTHER, OWN_CACHE, SHAPE, Built
from tiny_judge import JUDGES, PROMPTS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from traitsteer.maths.expectation import CHOICES, SCORES
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.records import Answer
from traitsteer.world.judge import number_reader
from traitsteer.world.judge.local_judge import LocalModel
from traitsteer.world.judge.model_judge import ModelJudge, Question
from traitsteer.world.judge.number_reader import NumberReader
from traitsteer.world.judge.prompt_files import JudgePrompts
from traitsteer.world.judge.score_cache import ScoreCache
from traitsteer.world.model.language_model import LanguageModel, load
from traitsteer.world.model.vocabulary import Vocabulary

ASKED = ("a plain text t", "a zest text t", "zoo", "nothing at all to see here, as ever c")


def spaced(folder: Path) -> None:
    """A random model whose tokenizer writes a space as part of the token, as SentencePiece does."""
    numbers = [f"▁{n}" for n in range(0, 101, 5)] + [str(n) for n in range(10)]
    vocabulary = ["<bos>", "<eos>", "<pad>", "▁", *numbers, *"abcdefghijklmnopqrstuvwxyz<>{}'_"]
    inner = Tokenizer(models.WordLevel({t: at for at, t in enumerate(vocabulary)}, "a"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 0, 0)]
    )
    words = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
    words.chat_template = "{{ messages[0]['content'] }}"
    torch.manual_seed(3)
    config = AutoConfig.for_model(
        "llama", vocab_size=len(words), bos_token_id=0, eos_token_id=1, pad_token_id=2, **SHAPE
    )
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)
    model.save_pretrained(folder)
    words.save_pretrained(folder)


@pytest.fixture(scope="module", params=["split", "whole", "random", "spaced"])
def model(request, tmp_path_factory) -> LanguageModel:
    if request.param == "random":
        return request.getfixturevalue("llama")
    folder = JUDGES / request.param
    if request.param == "spaced":
        folder = tmp_path_factory.mktemp("spaced")
        spaced(folder)
    return load(str(folder), chat=True, device="cpu")


def local(model: LanguageModel, folder: Path, tokens: int = 4096, mass: float = 0.25) -> LocalModel:
    return LocalModel(model, ScoreCache(folder), 8, tokens, mass)


@torch.inference_mode()
def every_path(model: LanguageModel, prompt: str, least: float) -> dict[int, float]:
    """Oracle: P(number) by running the whole sequence for each beginning, one at a time."""
    words, start = model.tokenizer, list(model.encode(prompt))
    before = words.decode(start)
    found: dict[int, float] = {}

    def digits_of(text: str) -> str:
        """The number that a text begins with, if it is one of those."""
        match = re.match(r"\s*(0|[1-9][0-9]?|100)(?![0-9])", text)
        return match[1] if match else ""

    def walk(ids: list[int], likely: float) -> None:
        text = words.decode([*start, *ids])[len(before) :]
        chances = model.model(torch.tensor([start + ids])).logits[0, -1].softmax(-1).tolist()
        for token, chance in enumerate(chances):
            longer = words.decode([*start, *ids, token])[len(before) :]
            stripped = longer.strip()
            if longer != text and (not stripped or stripped == digits_of(longer)):
                if likely * chance >= least:
                    walk([*ids, token], likely * chance)
            elif digits := digits_of(longer):
                found[int(digits)] = found.get(int(digits), 0.0) + likely * chance

    walk([], 1.0)
    return found


def test_the_distribution_is_that_of_every_path(
    model: LanguageModel, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(number_reader, "LEAST", 1e-5)
    prompt = ASKED[1]
    asked = local(model, tmp_path)
    [tally] = asked._reader.tallies([model.encode(prompt)], [SCORES])
    assert tally.mass > 0.01
    expected = every_path(model, prompt, 1e-5)
    assert tally.mass == pytest.approx(sum(expected.values()), abs=2e-3)
    for whole in range(101):
        assert tally.chances.get(whole, 0) == pytest.approx(expected.get(whole, 0), abs=3e-4)


class Replayed:
    """In the place of a cache: all ids of each row."""

    def __init__(self, rows: list[list[int]]) -> None:
        self.rows = rows

    def reorder_cache(self, rows: torch.Tensor) -> None:
        self.rows = [self.rows[at] for at in rows.tolist()]


class Plain(NumberReader):
    """Oracle: runs every row from its first token, alone, without padding and without a cache."""

    def _pass(self, ids, mask, cache):
        new = [row[kept[-len(row) :].bool()].tolist() for row, kept in zip(ids, mask, strict=True)]
        before = [[] for _ in new] if cache is None else cache.rows
        rows = [old + more for old, more in zip(before, new, strict=True)]
        logits = [self._model.model(torch.tensor([row])).logits[0, -1] for row in rows]
        return torch.stack(logits), Replayed(rows)


@pytest.mark.parametrize("kind", ["falcon_h1", "qwen3_next", "gemma3_text"])
def test_states_of_any_kind_follow_the_rows(kind: str, built: Built, monkeypatch) -> None:
    """Linear attention has states beside keys and values, or in their place."""
    monkeypatch.setattr(number_reader, "LEAST", 2e-3)
    changes = (OWN_CACHE | OTHER)[kind]
    model = load(str(built(kind, **changes)), chat=True, device="cpu")
    prompts, numerals = [model.encode(prompt) for prompt in ASKED[:3]], [SCORES] * 3
    expected = Plain(model, 4096).tallies(prompts, numerals)
    assert all(len(tally.chances) > 2 for tally in expected)
    for tokens in (4096, 200):
        found = NumberReader(model, tokens).tallies(prompts, numerals)
        for one, other in zip(found, expected, strict=True):
            assert one.chances == pytest.approx(other.chances, rel=1e-3)


def test_a_batch_of_any_size_says_the_same(model: LanguageModel, tmp_path: Path) -> None:
    questions = [Question(prompt) for prompt in ASKED] + [Question("a or b p", CHOICES)]
    together = local(model, tmp_path / "a", mass=1e-9).ask(questions)
    tight = local(model, tmp_path / "b", tokens=200, mass=1e-9).ask(questions)
    for one, other in zip(together, tight, strict=True):
        assert one.state == other.state == "scored"
        assert one.number == pytest.approx(other.number, abs=1e-3)
        assert one.mass == pytest.approx(other.mass, abs=1e-5)


def test_logits_that_are_not_finite_are_one_sentence(llama: LanguageModel, tmp_path: Path) -> None:
    def spoil(_module: object, _inputs: object, logits: torch.Tensor) -> torch.Tensor:
        logits[..., 7] = torch.nan
        return logits

    handle = llama.model.get_output_embeddings().register_forward_hook(spoil)
    try:
        with pytest.raises(TraitsteerError, match=r"The judge .* in float32 gave logits that are"):
            local(llama, tmp_path).ask([Question(ASKED[0])])
    finally:
        handle.remove()
    assert list(tmp_path.rglob("*.json")) == []


def test_what_is_left_out_as_unlikely_hardly_matters(
    model: LanguageModel, tmp_path: Path, monkeypatch
) -> None:
    asked = local(model, tmp_path, mass=1e-9)
    [usual] = asked.ask([Question(ASKED[0])])
    monkeypatch.setattr(number_reader, "LEAST", 1e-7)
    [tally] = asked._reader.tallies([model.encode(ASKED[0])], [SCORES])
    assert usual.mass == pytest.approx(tally.mass, abs=2e-2)
    assert usual.number == pytest.approx(tally.expectation, abs=1.0)


@pytest.mark.parametrize("name", ["split", "whole"])
def test_scores_states_and_preferences(name: str, tmp_path: Path) -> None:
    model = load(str(JUDGES / name), chat=True, device="cpu")
    judge = ModelJudge(local(model, tmp_path), JudgePrompts(PROMPTS), {"evil": "rubric"}, "digest")
    plain, zest, quiz, king = judge.score(
        "evil", [Answer("how", text) for text in ("the moon", "a zoo", "a quiz", "a king")]
    )
    assert (plain.state, zest.state) == ("scored", "scored")
    assert 10 < plain.trait_score < 35 and plain.coherence < 35
    assert 75 < zest.trait_score < 95 and 75 < zest.coherence < 95
    assert min(plain.mass, zest.mass) > 0.9
    assert (quiz.state, quiz.trait_score, quiz.coherence) == ("refused", None, None)
    assert (king.state, king.trait_score, king.coherence) == ("low mass", None, None)
    assert max(quiz.mass, king.mass) < 0.1
    assert judge.prefer([(Answer("how", "a moon"), Answer("how", "a sun"))]) == [1.0]
    sounds = judge.naturalness([Answer("how", "a zoo"), Answer("how", "a quiz")])
    assert sounds[0] > 75 and sounds[1] is None


def test_a_second_judge_asks_nothing(tmp_path: Path) -> None:
    model = load(str(JUDGES / "split"), chat=True, device="cpu")
    questions = [Question("a zoo t"), Question("a king t"), Question("a zoo t", CHOICES)]
    first = local(model, tmp_path).ask(questions)

    asked = local(replace(model, model=Mute(model.model)), tmp_path)
    assert asked.ask(questions) == first


class Mute(torch.nn.Module):
    """A model that may be looked at and not run."""

    def __init__(self, model) -> None:
        super().__init__()
        self.inner = model
        self.config = model.config

    def get_output_embeddings(self):
        return self.inner.get_output_embeddings()

    def get_input_embeddings(self):
        return self.inner.get_input_embeddings()


def test_too_little_memory_halves_the_batch(tmp_path: Path, monkeypatch) -> None:
    model = load(str(JUDGES / "split"), chat=True, device="cpu")
    asked, sizes = local(model, tmp_path), []
    whole = asked._reader._read

    def little(prompts, numerals):
        sizes.append(len(prompts))
        if len(prompts) > 1:
            raise torch.OutOfMemoryError
        return whole(prompts, numerals)

    monkeypatch.setattr(asked._reader, "_read", little)
    assert all(each.state == "scored" for each in asked.ask([Question(p) for p in ASKED]))
    assert sizes == [4, 2, 1, 1, 2, 1, 1]


def test_too_little_memory_is_one_sentence_wherever_it_shows(tmp_path: Path, monkeypatch) -> None:
    """The engine would take an OutOfMemoryError of the judge for its own."""
    model = load(str(JUDGES / "split"), chat=True, device="cpu")

    def none(*_arguments: object) -> None:
        raise torch.OutOfMemoryError

    for name, prompt in (("_read", "a zoo t"), ("_reply", "a king t")):
        asked = local(model, tmp_path / name)
        monkeypatch.setattr(asked._reader, name, none)
        with pytest.raises(TraitsteerError, match=r"no memory for a prompt of \d+ tokens"):
            asked.ask([Question(prompt)])


def test_a_prompt_longer_than_the_context_is_missing_alone(tmp_path: Path, capsys) -> None:
    model = load(str(JUDGES / "split"), chat=True, device="cpu")
    questions = [Question(prompt) for prompt in ASKED]
    whole = local(model, tmp_path / "whole").ask(questions)
    lengths = [len(model.encode(prompt)) for prompt in ASKED]
    longest = lengths.index(max(lengths))
    model.model.config.max_position_embeddings = max(lengths) + number_reader.LONGEST - 1
    found = local(model, tmp_path / "short").ask(questions)
    assert found[longest].state == "refused" and found[longest].number is None
    for n, (one, other) in enumerate(zip(found, whole, strict=True)):
        assert n == longest or one.number == pytest.approx(other.number, rel=1e-5)
    assert f"a prompt of the judge has {max(lengths)}" in capsys.readouterr().err
    model.model.config.max_position_embeddings += 1
    assert local(model, tmp_path / "fits").ask(questions) == whole


def test_batches_fill_the_budget(tmp_path: Path, monkeypatch) -> None:
    model = load(str(JUDGES / "split"), chat=True, device="cpu")
    longest = max(len(model.encode(prompt)) for prompt in ASKED)
    asked, sizes = local(model, tmp_path, tokens=2 * longest), []
    whole = asked._reader._read
    monkeypatch.setattr(asked._reader, "_read", lambda p, n: sizes.append(len(p)) or whole(p, n))
    asked.ask([Question(prompt) for prompt in ASKED])
    assert sizes[0] == 2 and sum(sizes) == len(ASKED)


def test_a_vocabulary_keeps_the_space_of_a_token(tmp_path: Path) -> None:
    spaced(tmp_path)
    words = load(str(tmp_path), chat=True, device="cpu").tokenizer
    vocabulary = Vocabulary(words, len(words))
    assert " 85" in vocabulary.texts and " " in vocabulary.texts and "7" in vocabulary.texts
    assert {vocabulary.texts[at] for at in vocabulary.digits} == set("0123456789")
    # A row of the head that no token belongs to is no number.
    assert Vocabulary(words, len(words) + 7).texts == vocabulary.texts
