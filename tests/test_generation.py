"""A setting travels with its row: alone, in any batch, in any order, a row's output is the same."""

import pytest
import torch
from steering_oracle import PROMPTS, direction, hooks, mixed_rows, slow_reference
from tiny import KINDS, Built

from traitsteer.engine.generation import generate
from traitsteer.engine.rows import Batching, Row, Sampling, Steering
from traitsteer.engine.sampling import uniform
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.model.language_model import LanguageModel, load


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_steered_rows_equal_the_slow_reference(llama: LanguageModel, temperature: float) -> None:
    sampling = Sampling(12, temperature)
    rows = mixed_rows(llama)
    generated = generate(llama, rows, sampling, Batching(16))
    assert [g.ids for g in generated] == [slow_reference(llama, row, sampling) for row in rows]
    assert len({g.ids for g in generated}) > len(PROMPTS), "steering changed nothing"


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_is_steered_like_the_slow_reference(kind: str, built: Built) -> None:
    model = load(str(built(kind)), chat=True, device="cpu")
    before = hooks(model)
    rows = mixed_rows(model, (0, 3))[:12]
    generated = generate(model, rows, Sampling(6, 1.0), Batching(12))
    for cached in (False, True):
        assert [g.ids for g in generated] == [
            slow_reference(model, row, Sampling(6, 1.0), cached) for row in rows
        ]
    assert len({g.ids for g in generated}) > 4, "steering changed nothing"
    assert hooks(model) == before


@pytest.mark.parametrize("kind", ["gemma4_text", "mpt"])
def test_prompts_are_told_from_heads_and_shared_keys_follow_their_rows(
    kind: str, built: Built
) -> None:
    """MPT hands its blocks a bias for each head; blocks of Gemma 4 read the keys of others."""
    model = load(str(built(kind)), chat=True, device="cpu")
    prompts = [tuple(range(20 * k, 20 * k + 4 + k)) for k in range(1, 5)]
    assert len(prompts) == model.model.config.num_attention_heads
    layers = [2, 0, 1, 0]
    one_each = [
        Row(prompt, at, Steering(layers[at], direction(at, model.width), 3.0))
        for at, prompt in enumerate(prompts)
    ]
    late = Steering(model.layers - 1, direction(9, model.width), 3.0)
    two_each = [
        Row(prompt, at, Steering(0, direction(at, model.width), 2.0 + at))
        for prompt in prompts
        for at in range(2)
    ]
    leaving = [Row(prompts[0], 0, late), Row(prompts[1], 1), *one_each[::2]]
    for rows in (one_each, two_each, leaving):
        found = generate(model, rows, Sampling(8, 1.0), Batching(16))
        assert [g.ids for g in found] == [
            slow_reference(model, row, Sampling(8, 1.0)) for row in rows
        ]


@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_batch_size_and_order_change_nothing(llama: LanguageModel, top_p: float) -> None:
    rows = mixed_rows(llama)
    sampling = Sampling(16, 1.0, top_p)
    together = generate(llama, rows, sampling, Batching(64))
    for batch_rows in (1, 5):
        assert generate(llama, rows, sampling, Batching(batch_rows)) == together
    assert generate(llama, rows[::-1], sampling, Batching(7)) == together[::-1]


def test_coefficient_zero_is_no_steering_token_for_token(llama: LanguageModel) -> None:
    sampling = Sampling(16, 1.0)
    plain = [Row(llama.encode(p), seed) for seed, p in enumerate(PROMPTS)]
    zero = [Row(r.prompt_ids, r.seed, Steering(1, direction(0), 0.0)) for r in plain]
    loud = [Row(r.prompt_ids, r.seed, Steering(1, direction(0), 9.0)) for r in plain]
    generated = generate(llama, plain + zero + loud, sampling, Batching(12))
    assert generated[:4] == generated[4:8]
    assert generated[:4] != generated[8:]


@pytest.mark.parametrize("sampling", [Sampling(16, 0), Sampling(16, 0.9), Sampling(16, 1.1, 0.8)])
def test_an_unsteered_row_equals_plain_transformers_generate(
    llama: LanguageModel, sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their forward passes, cache, temperature and nucleus; only the random number is ours."""
    rows = [
        Row(llama.encode(prompt), 3, Steering(1, direction(0), 0.0) if steered else None)
        for prompt in PROMPTS
        for steered in (False, True)
    ]
    ours = generate(llama, rows, sampling, Batching(4))
    for row, generated in zip(rows, ours, strict=True):
        step = iter(range(16))

        def draw(chances: torch.Tensor, *_: object, row=row, step=step, **__: object):
            at = uniform(torch.tensor([row.seed]), torch.tensor([next(step)]))
            total = chances.double().cumsum(-1)
            return torch.searchsorted(total, at[:, None] * total[:, -1:], right=True)

        with monkeypatch.context() as patched:
            patched.setattr(torch, "multinomial", draw)
            options = (
                {"do_sample": False}
                if sampling.temperature == 0
                else {
                    "do_sample": True,
                    "temperature": sampling.temperature,
                    "top_p": sampling.top_p,
                    "top_k": 0,
                }
            )
            theirs = llama.model.generate(
                torch.tensor([row.prompt_ids]), max_new_tokens=16, **options
            )[0, len(row.prompt_ids) :].tolist()
        expected = [t for t in theirs if t not in llama.end_ids]
        assert list(generated.ids) == expected
        assert generated.finish == ("stop" if len(expected) < len(theirs) else "length")


@pytest.mark.parametrize("run", [3, 9])
def test_hooks_are_gone_after_an_exception(llama: LanguageModel, monkeypatch, run: int) -> None:
    """Three blocks run for the prompts, then three at each step."""
    # transformers leaves hooks of its own on a model that has reported its hidden states.
    before = hooks(llama)
    block = type(llama.blocks[0])
    forward, opened = block.forward, []

    def failing(self, *args, **kwargs):
        opened.append(hooks(llama))
        if len(opened) == run:
            raise KeyboardInterrupt
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(block, "forward", failing)
    with pytest.raises(KeyboardInterrupt):
        generate(llama, 2 * mixed_rows(llama, (3,))[:3], Sampling(4), Batching(6))
    (after, pre), (after_before, pre_before) = opened[-1], before
    assert len(opened) == run
    assert after != after_before, "nothing was steered when it failed"
    assert pre != pre_before, "nothing was shared when it failed"
    assert hooks(llama) == before


def test_a_row_that_does_not_fit_the_model_is_refused_before_any_work(llama) -> None:
    prompt = llama.encode("the cat")
    with pytest.raises(TraitsteerError, match=r"layer 3; .* layers 0 to 2"):
        generate(llama, [Row(prompt, 0, Steering(3, direction(0), 1.0))], Sampling(4), Batching(1))
    with pytest.raises(TraitsteerError, match="width 32"):
        generate(llama, [Row(prompt, 0, Steering(1, torch.ones(8), 1.0))], Sampling(4), Batching(1))
    with pytest.raises(TraitsteerError, match="'answer'; expected one of all, prompt, response"):
        nowhere = Steering(1, direction(0), 1.0)
        object.__setattr__(nowhere, "positions", "answer")  # Users' types are not checked.
        generate(llama, [Row(prompt, 0, nowhere)], Sampling(4), Batching(1))
    for number in (-1, llama.vocabulary):
        with pytest.raises(TraitsteerError, match=f"^Row 1 has the token id {number}; .* ids 0 to"):
            generate(llama, [Row((7,), 0), Row((7, number), 0)], Sampling(2), Batching(2))
    with pytest.raises(TraitsteerError, match="empty prompt"):
        generate(llama, [Row((), 0)], Sampling(4), Batching(1))
