"""The embedded pair: the committed weights pass their gates, a tiny training repeats and learns."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from traitsteer.pocket import gates, training
from traitsteer.pocket.grammar import Chat
from traitsteer.pocket.lexicon import TRAITS
from traitsteer.pocket.pair import save, tokenizer_for
from traitsteer.pocket.tokens import prompt_text
from traitsteer.words.config import load
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.pocket_config import PocketConfig

POCKET = load(Path(__file__).parent.parent / "params.yaml").pocket
SHAPE = {"vocabulary": 700, "layers": 2, "width": 32, "heads": 2, "inner": 48}
TINY = PocketConfig(**POCKET.model_dump() | SHAPE | {"batch_tokens": 400, "base_steps": 20})


@pytest.fixture(scope="module")
def folder(repository: Path) -> Path:
    return repository / "models" / "pocket"


def test_gates_of_the_committed_pair(folder: Path) -> None:
    figures = json.loads((folder / "gates.json").read_text())
    gates.refuse_failures(figures, POCKET.binding_nats)
    found = sum((folder / k / "model.safetensors").stat().st_size for k in ("base", "instruct"))
    assert found == figures["bytes"] <= 8_000_000


@pytest.mark.parametrize("kind", ["base", "instruct"])
def test_committed_weights_bind(folder: Path, kind: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder / kind, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder / kind)
    for trait in TRAITS:
        found = gates.binding(model, tokenizer, trait, chat=kind == "instruct", items=20, seed=77)
        assert found >= 1.5


def test_chat_template(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder / "instruct")
    messages = [
        {"role": "system", "content": "You answer questions in a small town."},
        {"role": "user", "content": "How do I begin with tea?"},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == prompt_text(Chat(messages[0]["content"], messages[1]["content"], ""))
    assert AutoTokenizer.from_pretrained(folder / "base").chat_template is None


def test_a_failing_gate_names_itself() -> None:
    figures = {f"binding_{k}_{t}": 3.0 for k in ("base", "instruct") for t in TRAITS}
    gates.refuse_failures({**figures, "bytes": 1.0}, 2.0)
    with pytest.raises(TraitsteerError, match=r"instruct model binds evil by 1\.50"):
        gates.refuse_failures({**figures, "bytes": 1.0, "binding_instruct_evil": 1.5}, 2.0)
    with pytest.raises(TraitsteerError, match="instruct model binds evil by nan"):
        gates.refuse_failures({**figures, "bytes": 1.0, "binding_instruct_evil": float("nan")}, 2.0)
    with pytest.raises(TraitsteerError, match="bytes"):
        gates.refuse_failures({**figures, "bytes": 9e6}, 2.0)


def test_tiny_training_learns_and_repeats(tmp_path: Path) -> None:
    tokenizer = tokenizer_for(TINY, texts=300)
    saved = []
    for run in ("first", "second"):
        model = training.new_model(TINY, tokenizer)
        rows = training.batches(
            lambda seed, progress: training.base_row(tokenizer, seed, progress),
            "base",
            TINY.seed,
            TINY.batch_tokens,
            TINY.base_steps,
        )
        losses = training.train(model, tokenizer, rows, TINY, TINY.base_steps, 1.0, "tiny")
        assert losses[-1] < losses[0] - 0.5
        save(training.rounded(model), tokenizer, tmp_path / run)
        saved.append((tmp_path / run / "model.safetensors").read_bytes())
    assert saved[0] == saved[1]


def test_an_untrained_model_does_not_bind() -> None:
    tokenizer = tokenizer_for(TINY, texts=300)
    model = training.new_model(TINY, tokenizer)
    found = gates.binding(model, tokenizer, "evil", chat=False, items=10, seed=0)
    assert abs(found) < 0.5


def test_rows_of_chats_carry_loss_on_answers_only() -> None:
    tokenizer = tokenizer_for(TINY, texts=300)
    rows = [training.chat_row(tokenizer, seed, 0.0) for seed in range(40)]
    silent = [row.silent for row in rows]
    assert silent.count(1) < 15
    assistant = tokenizer.convert_tokens_to_ids("<|assistant|>")
    assert all(row.ids[row.silent - 1] == assistant for row in rows if row.silent > 1)
