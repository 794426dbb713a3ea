"""The last block of a pass runs its feed-forward part for those tokens that somebody looks at."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from reading_oracle import block_outputs, close
from steering_oracle import direction, hooks, mixed_rows, slow_reference
from test_reading import WHOLE, recorded
from tiny import KINDS, Built
from torch import Tensor, nn

from traitsteer.engine.generation import generate
from traitsteer.engine.last_block import last_tokens, looking_at
from traitsteer.engine.prefill import prefill
from traitsteer.engine.reading import pooled_activations
from traitsteer.engine.rows import Batching, Row, Sampling, Steering
from traitsteer.maths.positions import Position
from traitsteer.world.model.inference import inference
from traitsteer.world.model.language_model import LanguageModel, load

WITHOUT = {"mpt"}
"""The architecture whose block calls it otherwise."""


@contextmanager
def fed(part: nn.Module) -> Iterator[list[int]]:
    """How many tokens a part is given, for each pass."""
    seen: list[int] = []
    handle = part.register_forward_pre_hook(
        lambda _part, inputs: seen.append(inputs[0].flatten(0, -2).shape[0])
    )
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_done_wherever_a_block_has_such_a_part(kind: str, built: Built) -> None:
    model = load(str(built(kind)), chat=True, device="cpu")
    before = hooks(model)
    with torch.inference_mode(), looking_at(model, model.layers - 1, last_tokens):
        assert (hooks(model) != before) == (kind not in WITHOUT)
    assert hooks(model) == before


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_reading_feeds_the_pooled_tokens_alone_to_the_last_part(
    llama: LanguageModel, layers: int
) -> None:
    items, position = recorded(), Position.parse("response[:3]")
    pooled_activations(llama, items, position, WHOLE, layers)
    chosen = sum(min(3, len(item.response_ids)) for item in items)
    last, first = llama.blocks[layers - 1].mlp.up_proj, llama.blocks[0].mlp.up_proj
    with fed(last) as some, fed(first) as all_of_them:
        pooled_activations(llama, items, position, WHOLE, layers)
    # One small pass sees whether the model is causal.
    assert some[1:] == [chosen]
    assert layers == 1 or all_of_them[1] > chosen


def test_prompts_feed_their_last_token_alone_to_the_last_part(llama: LanguageModel) -> None:
    prompts = [tuple(range(20, 20 + n)) for n in (9, 5, 7)]
    settings = [None, Steering(0, direction(0), 3.0), Steering(2, direction(1), 3.0)]
    rows = [Row(prompt, 0, setting) for setting in settings for prompt in prompts]
    with inference(llama.model):
        prefill(llama, rows)
        with fed(llama.blocks[-1].mlp.up_proj) as some, fed(llama.blocks[0].mlp.up_proj) as whole:
            prefill(llama, rows)
    # The last setting parts from the first after the last block.
    assert some == [6] and whole == [27]


def mixing(model: LanguageModel, layer: int) -> None:
    """Plant a part that adds to each token what it gives the one before."""
    part = model.blocks[layer].mlp
    own = part.forward

    def forward(hidden: Tensor) -> Any:
        given = own(hidden)
        return given + given.roll(1, dims=1) * (torch.arange(given.shape[1]) > 0)[:, None]

    part.forward = forward


def test_a_part_that_mixes_tokens_is_given_all_of_them(built: Built) -> None:
    model = load(str(built("llama")), chat=True, device="cpu")
    mixing(model, model.layers - 1)
    items = recorded()
    pooled = pooled_activations(model, items, Position.parse("response[:1]"), WHOLE)
    for row, item in enumerate(items):
        assert close(pooled[row], block_outputs(model, item)[:, len(item.prompt_ids)])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("mixes", [False, True])
def test_massive_dimensions_hide_no_mixing(built: Built, dtype: str, mixes: bool) -> None:
    """In real models a few dimensions are hundreds of times as large as what a part gives."""
    model = load(str(built("llama")), chat=True, device="cpu", dtype=dtype)
    model.model.get_input_embeddings().weight[:, 3] = 300.0
    if mixes:
        mixing(model, model.layers - 1)
    before = hooks(model)
    with torch.inference_mode(), looking_at(model, model.layers - 1, last_tokens):
        assert (hooks(model) == before) == mixes


def test_a_block_that_attends_to_what_its_part_gives_is_given_all_of_it(built: Built) -> None:
    model = load(str(built("llama")), chat=True, device="cpu")
    block = model.blocks[-1]
    own = block.forward
    block.forward = lambda hidden, *args, **kwargs: own(hidden + block.mlp(hidden), *args, **kwargs)
    items = recorded()
    pooled = pooled_activations(model, items, Position.parse("response[:1]"), WHOLE)
    for row, item in enumerate(items):
        assert close(pooled[row], block_outputs(model, item)[:, len(item.prompt_ids)])


def test_hooks_are_gone_after_an_exception(llama: LanguageModel) -> None:
    before = hooks(llama)
    with (
        pytest.raises(ZeroDivisionError),
        torch.inference_mode(),
        looking_at(llama, 0, last_tokens),
    ):
        raise ZeroDivisionError
    assert hooks(llama) == before


def test_a_model_of_one_block_says_what_slow_passes_say(built: Built) -> None:
    model = load(str(built("llama", num_hidden_layers=1)), chat=True, device="cpu")
    rows, sampling = mixed_rows(model), Sampling(6, 0.0)
    for row, found in zip(rows, generate(model, rows, sampling, Batching(8)), strict=True):
        assert found.ids == slow_reference(model, row, sampling)
