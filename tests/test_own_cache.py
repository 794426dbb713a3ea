"""Models that run with the cache that transformers makes: the same words as plain passes."""

import random
from pathlib import Path

import pytest
import torch
from reading_oracle import close, watched
from steering_oracle import direction, hooks, mixed_rows, slow_reference
from test_likelihood import by_hand, told
from tiny import OWN_CACHE, Built, build
from transformers import AutoConfig

from traitsteer.engine import own_cache
from traitsteer.engine.generation import generate
from traitsteer.engine.likelihood import log_likelihood
from traitsteer.engine.reading import Recorded, pooled_activations
from traitsteer.engine.rows import Batching, Row, Sampling, Steering
from traitsteer.engine.trial import try_out
from traitsteer.maths.memory import Footprint, Load
from traitsteer.maths.positions import Position
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.model import memory
from traitsteer.world.model.language_model import LanguageModel, load
from traitsteer.world.model.model_files import skeleton

ROWS = Sampling(10, 1.0)


@pytest.fixture
def model(request: pytest.FixtureRequest, built: Built) -> LanguageModel:
    """Of a kind; with many tokens that end a response, so that rows leave one after the other."""
    model = load(str(built(request.param, **OWN_CACHE[request.param])), chat=True, device="cpu")
    model.model.generation_config.eos_token_id = list(range(1, 40))
    return model


@pytest.fixture
def bloom(built: Built) -> LanguageModel:
    model = load(str(built("bloom", **OWN_CACHE["bloom"])), chat=True, device="cpu")
    assert try_out(model) == "own cache"
    return model


@pytest.mark.parametrize("model", sorted(OWN_CACHE), indirect=True)
def test_every_row_says_what_slow_passes_say(
    model: LanguageModel, caplog: pytest.LogCaptureFixture
) -> None:
    rows = mixed_rows(model)[::2]
    order = random.Random(0).sample(range(len(rows)), len(rows))
    before = hooks(model)
    lengths = set()
    for sampling in (Sampling(10, 0.0), ROWS):
        expected = [slow_reference(model, row, sampling) for row in rows]
        lengths |= set(map(len, expected))
        for batching in (Batching(64), Batching(7, 40), Batching(1)):
            found = generate(model, [rows[at] for at in order], sampling, batching)
            assert [answer.ids for answer in found] == [expected[at] for at in order]
    assert len(lengths) > 3, "no row left before another"
    assert hooks(model) == before
    told = [r for r in caplog.records if "slower, with the cache" in r.getMessage()]
    assert len(told) == 1, "once"


@pytest.mark.parametrize("model", ["falcon_h1", "qwen3_next"], indirect=True)
def test_coefficient_0_is_generate_of_transformers(model: LanguageModel) -> None:
    prompts = [model.encode(text) for text in ("the cat", "a dog that sees", "x")]
    rows = [Row(p, 0, Steering(1, direction(0), 0.0, "all")) for p in prompts]
    found = generate(model, rows, Sampling(10, 0.0), Batching(8))
    ends = list(model.end_ids)
    for prompt, answer in zip(prompts, found, strict=True):
        ids = torch.tensor([prompt])
        plain = model.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=10,
            do_sample=False,
            eos_token_id=ends,
            pad_token_id=model.pad_id,
        )[0, len(prompt) :].tolist()
        assert list(answer.ids) == plain[: len(answer.ids)]
        assert len(answer.ids) == 10 or plain[len(answer.ids)] in ends


@pytest.mark.parametrize("model", ["falcon_h1", "llama4_text", "qwen3_next"], indirect=True)
def test_reading_and_likelihood_are_those_of_plain_passes(model: LanguageModel) -> None:
    recorded = [
        Recorded(str(n), tuple(range(9, 12 + n)), tuple(range(40, 43 + 2 * n))) for n in range(9)
    ]
    read = pooled_activations(model, recorded, Position.parse("response[:5]"), 64)
    for found, item in zip(read, recorded, strict=True):
        with watched(model) as (_, outputs), torch.inference_mode():
            model.model(torch.tensor([item.prompt_ids + item.response_ids]))
        start = len(item.prompt_ids)
        whole = torch.stack(outputs)[:, 0, start : start + 5]
        assert close(found, whole.mean(dim=1), 1e-4)
    rows = told()
    expected = torch.tensor([by_hand(model, row)[0] for row in rows], dtype=torch.float64)
    for tokens in (4096, 1):
        assert torch.allclose(log_likelihood(model, rows, tokens).log_p, expected, rtol=1e-4)


def test_rows_that_differ_in_seeds_alone_share_their_prompt(
    bloom: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, int]] = []
    whole = own_cache.Together._pass

    def seen(together: own_cache.Together, ids: torch.Tensor, *others: object) -> object:
        shapes.append((ids.shape[0], ids.shape[1]))
        return whole(together, ids, *others)

    monkeypatch.setattr(own_cache.Together, "_pass", seen)
    steering = Steering(1, direction(0), 3.0)
    rows = [Row((6, 7, 8), seed, some) for seed in range(4) for some in (None, steering)]
    found = generate(bloom, rows, Sampling(3, 1.0), Batching(64))
    assert shapes == [(2, 3), (8, 1), (8, 1)]
    assert len({answer.ids for answer in found}) > 4
    shapes.clear()
    assert generate(bloom, rows, Sampling(3, 1.0), Batching(64, 3)) == found
    assert shapes == [(1, 3), (4, 1), (4, 1)] * 2, "as many rows as share the tokens of a pass"


def test_settings_that_come_first_finish_first(bloom: LanguageModel) -> None:
    """A setting's answers are kept once all are there, so that a kill loses those under way."""
    prompts = [tuple(range(6, 6 + length)) for length in (3, 5, 2, 4, 3)]
    steerings = [Steering(1, direction(at), 2.0) for at in range(12)]
    rows = [
        Row(prompt, seed, steering)
        for steering in steerings
        for prompt in prompts
        for seed in range(2)
    ]
    each = 2 * len(prompts)
    order: list[int] = []
    found = generate(bloom, rows, ROWS, Batching(4), lambda at, _: order.append(at // each))
    assert found == generate(bloom, rows, ROWS, Batching(len(rows)))
    ended = [max(n for n, at in enumerate(order) if at == one) for one in range(12)]
    began = [order.index(one) for one in range(12)]
    assert ended == sorted(ended)
    # Beside the setting in turn, at most one pass of each of the four lengths is under way.
    assert all(end < (one + 1) * each + 4 * 4 for one, end in enumerate(ended))
    assert all(end < begin for end, begin in zip(ended, began[3:], strict=False))


def test_memory_that_runs_out_halves_the_rows_and_no_answer(
    bloom: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = mixed_rows(bloom)
    expected = generate(bloom, rows, ROWS, Batching(64))
    whole, refused = own_cache.Together.step, []

    def limited(together: own_cache.Together, tokens: torch.Tensor) -> torch.Tensor:
        if len(tokens) > 4:
            refused.append(len(tokens))
            torch.empty(1 << 50)
        return whole(together, tokens)

    monkeypatch.setattr(own_cache.Together, "step", limited)
    finished: list[int] = []
    found = generate(bloom, rows, ROWS, Batching(64), lambda at, _: finished.append(at))
    assert found == expected and refused
    assert sorted(finished) == list(range(len(rows))), "a row is handed out once"

    def never(together: own_cache.Together, tokens: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("too many rows")

    monkeypatch.setattr(own_cache.Together, "step", never)
    before = hooks(bloom)
    with pytest.raises(TraitsteerError, match="at most 10 response tokens does not fit"):
        generate(bloom, rows, ROWS, Batching(64))
    assert hooks(bloom) == before


def test_what_repeats_itself_is_cut_and_what_is_no_number_is_told(bloom: LanguageModel) -> None:
    rows = [Row((6, 7, 8), 0), Row((9, 8), 0)]
    sampling = Sampling(120, 0.0, cut_loops=True)
    whole = generate(bloom, rows, Sampling(120, 0.0), Batching(4))
    cut = generate(bloom, rows, sampling, Batching(4))
    assert any(answer.finish == "loop" for answer in cut)
    for short, long in zip(cut, whole, strict=True):
        assert short.ids == long.ids[: len(short.ids)]
    lost = Row((6, 7, 8), 0, Steering(1, torch.full((32,), torch.inf), 1.0))
    with pytest.raises(TraitsteerError, match="not finite for a row that is steered at layer 1"):
        generate(bloom, [*rows, lost], sampling, Batching(4))


def test_captured_steps_are_refused_where_they_are_asked_for(bloom: LanguageModel) -> None:
    with pytest.raises(TraitsteerError, match=r"Bloom.* cannot run with prompts shared"):
        try_out(bloom, True)
    assert try_out(bloom, False) == "own cache"


@pytest.mark.parametrize("kind", ["falcon_h1", "llama4_text", "qwen3_next"])
def test_what_a_row_keeps_is_counted(kind: str, tmp_path: Path) -> None:
    build(tmp_path, kind, **OWN_CACHE[kind])
    model = load(str(tmp_path), device="cpu")
    with torch.inference_mode():
        cache = model.model(torch.tensor([[5] * 6] * 3), use_cache=True).past_key_values
    held = 0
    for layer in cache.layers:
        states = (getattr(layer, name, {}) for name in ("conv_states", "recurrent_states"))
        parts = [*(t for each in states for t in each.values()), getattr(layer, "keys", None)]
        parts.append(getattr(layer, "values", None))
        held += sum(part.nbytes for part in parts if part is not None)
    sizes = memory.sizes_of(skeleton(str(tmp_path), None, False, "float32"), "none")
    assert Footprint(sizes, Load(rows=3, columns=6, tokens=1)).cached == held
    assert (sizes.state > 0) == (kind != "llama4_text")


def test_what_attends_to_nothing_is_refused_before_any_work(tmp_path: Path) -> None:
    AutoConfig.for_model("mamba", hidden_size=32, num_hidden_layers=3).save_pretrained(tmp_path)
    shapes = skeleton(str(tmp_path), None, False, "float32")
    with pytest.raises(TraitsteerError, match=r"type mamba attends to no token .* choose one that"):
        memory.sizes_of(shapes, "none")
