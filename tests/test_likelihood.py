"""The likelihood of recorded tokens: transformers' own loss, with the vector added by hand."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from steering_oracle import added_by_hand
from tiny import OTHER, Built, build

from traitsteer.engine.likelihood import Told, log_likelihood
from traitsteer.engine.rows import Steered, Steering
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.model.language_model import LanguageModel, load

WHOLE = 4096


def told(count: int = 9, positions: Steered = "all") -> list[Told]:
    """Rows of mixed length, layer and coefficient; every third is unsteered."""
    draw, made = random.Random(0), torch.Generator().manual_seed(1)
    rows = []
    for at in range(count):
        prompt, response = (tuple(draw.choices(range(6, 260), k=draw.randint(1, 9))) for _ in "ab")
        vector = torch.nn.functional.normalize(torch.randn(32, generator=made), dim=0)
        steering = Steering(at % 3, vector, (0.0, 4.0, -9.0)[(at + at // 3) % 3], positions)
        rows.append(Told(f"text-{at}", prompt, response, None if at % 3 == 2 else steering))
    return rows


@torch.inference_mode()
def by_hand(model: LanguageModel, row: Told) -> tuple[float, int]:
    """The sum of log p from the loss of plain transformers, the vector added by a plain hook."""
    ids = torch.tensor([row.prompt_ids + row.response_ids], device=model.device)
    start = len(row.prompt_ids)
    labels = ids.clone()
    labels[:, :start] = -100
    with added_by_hand(model, row.steering, start):
        loss = model.model(input_ids=ids, labels=labels).loss
    return -float(loss) * len(row.response_ids), len(row.response_ids)


@pytest.mark.parametrize("kind", sorted(OTHER))
def test_it_equals_the_loss_of_plain_transformers(kind: str, built: Built) -> None:
    model = load(str(built(kind)), chat=True, device="cpu")
    for positions in ("all", "prompt", "response"):
        rows = told(positions=positions)
        found = log_likelihood(model, rows, WHOLE)
        sums, counts = zip(*(by_hand(model, row) for row in rows), strict=True)
        assert torch.allclose(found.log_p, torch.tensor(sums, dtype=torch.float64), rtol=1e-4)
        assert found.tokens.tolist() == list(counts)


@pytest.mark.parametrize("tokens", [1, 20, 60])
def test_neither_order_nor_batch_changes_it(llama: LanguageModel, tokens: int) -> None:
    rows, done = told(), []
    together = log_likelihood(llama, rows, WHOLE).log_p
    apart = log_likelihood(llama, rows, tokens, done.append).log_p
    assert torch.allclose(apart, together, rtol=1e-5)
    turned = log_likelihood(llama, rows[::-1], tokens).log_p.flip(0)
    assert torch.allclose(turned, together, rtol=1e-5)
    assert sum(done) == len(rows)


def test_a_coefficient_of_0_is_the_unsteered_model_and_another_is_not(llama: LanguageModel) -> None:
    ids = (tuple(range(6, 12)), tuple(range(40, 60)))
    vector = torch.nn.functional.normalize(torch.ones(32), dim=0)
    rows = [Told("plain", *ids)]
    rows += [Told(f"{c}", *ids, Steering(1, vector, c)) for c in (0.0, 6.0)]
    plain, nothing, steered = log_likelihood(llama, rows, WHOLE).log_p.tolist()
    assert nothing == plain
    assert abs(steered - plain) > 0.1


def test_batches_that_do_not_fit_are_halved_and_change_nothing(
    llama: LanguageModel, monkeypatch
) -> None:
    rows = told()
    expected = log_likelihood(llama, rows, WHOLE).log_p
    forward = type(llama.model).forward

    def small(self: Any, input_ids: torch.Tensor, **kwargs: Any) -> Any:
        if len(input_ids) > room:
            raise torch.OutOfMemoryError
        return forward(self, input_ids=input_ids, **kwargs)

    monkeypatch.setattr(type(llama.model), "forward", small)
    room = 2
    assert torch.allclose(log_likelihood(llama, rows, WHOLE).log_p, expected, rtol=1e-5)
    room = 0
    with pytest.raises(TraitsteerError, match=r"^text-\d: its \d+ tokens do not fit"):
        log_likelihood(llama, rows, WHOLE)


def test_half_precision_stays_with_plain_transformers(tmp_path: Path) -> None:
    build(tmp_path, "llama")
    model = load(str(tmp_path), chat=True, device="cpu", dtype="bfloat16")
    row = told()[0]
    for coefficient in (0.0, 30.0):
        steered = Told(
            "one",
            row.prompt_ids,
            row.response_ids,
            Steering(0, torch.ones(32) / 32**0.5, coefficient),
        )
        [found] = log_likelihood(model, [steered], WHOLE).log_p
        assert float(found) == pytest.approx(by_hand(model, steered)[0], rel=0.02)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (Told("one", (), (7,)), "empty prompt"),
        (Told("two", (7,), ()), "two has no response token"),
        (Told("one", (7, 10**6), (7,)), "^one has the token id 1000000; .* has ids 0 to"),
        (Told("one", (7,), (7, -1)), "^one has the token id -1; .* has ids 0 to"),
        (Told("one", (7,), (8,), Steering(3, torch.ones(32), 1.0)), "layers 0 to 2"),
        (Told("one", (7,), (8,), Steering(0, torch.ones(31), 1.0)), "width 32"),
    ],
)
def test_rows_that_cannot_be_read_are_refused(llama: LanguageModel, row, sentence) -> None:
    with pytest.raises(TraitsteerError, match=sentence):
        log_likelihood(llama, [row], WHOLE)


def test_logits_that_are_not_finite_are_one_sentence(llama: LanguageModel) -> None:
    huge = Steering(1, torch.full((llama.width,), 3e38), 2.0)
    rows = [Told("fine", (7,), (8, 9)), Told("huge", (7,), (8, 9), huge)]
    with pytest.raises(TraitsteerError, match="not finite for a row that is steered at layer 1"):
        log_likelihood(llama, rows, WHOLE)


def test_a_model_that_overflows_is_not_taken_for_one_that_looks_ahead(tmp_path: Path) -> None:
    build(tmp_path, "llama")
    model = load(str(tmp_path), device="cpu")
    model.tried["shared"] = True
    model.blocks[1].mlp.down_proj.weight.data.fill_(3e38)
    with pytest.raises(TraitsteerError, match="not finite for a row that is unsteered"):
        log_likelihood(model, [Told("one", (7,), (8, 9))], WHOLE)


def test_responses_count_towards_the_positions_that_a_model_knows(tmp_path: Path) -> None:
    build(tmp_path, "llama", max_position_embeddings=16)
    model = load(str(tmp_path), chat=True, device="cpu")
    fits = Told("fits", (7,) * 4, (8,) * 12)
    assert log_likelihood(model, [fits], WHOLE).tokens.tolist() == [12]
    with pytest.raises(TraitsteerError, match=r"^long has 4 prompt and up to 13 .* takes 16"):
        log_likelihood(model, [fits, Told("long", (7,) * 4, (8,) * 13)], WHOLE)


def test_a_decoder_that_gives_all_logits_is_read_at_its_own_tokens(tmp_path: Path) -> None:
    """Some take `logits_to_keep` among arguments that they do not look at."""
    build(tmp_path, "llama")
    model = load(str(tmp_path), chat=True, device="cpu")
    told = [Told("one", (7, 9, 4), (8, 5, 6)), Told("two", (5,), (8, 9))]
    expected = log_likelihood(model, told, WHOLE).log_p
    forward = type(model.model).forward

    def whole(model: object, logits_to_keep: object = None, **given: object) -> object:
        return forward(model, **given)

    model.model.forward = whole.__get__(model.model)
    assert torch.allclose(log_likelihood(model, told, WHOLE).log_p, expected)


def test_a_model_that_looks_ahead_is_refused(tmp_path: Path) -> None:
    build(tmp_path, "llama", is_causal=False)
    model = load(str(tmp_path), chat=True, device="cpu")
    model.model.set_attn_implementation("eager")
    with pytest.raises(TraitsteerError, match="see those that follow them"):
        log_likelihood(model, [Told("one", (7,), (8, 9))], WHOLE)
