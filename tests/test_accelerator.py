"""The engine away from the host: nothing of a decoding step is read back or brought along.

A CUDA graph holds neither. No GPU is needed to see it: tensors of torch's `meta` device have no
numbers, so that reading one raises, and so does mixing them with those of the host.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from steering_oracle import direction, slow_reference
from tiny import GPT_NEO, KINDS, Built
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from traitsteer.engine import decoding, trial
from traitsteer.engine.decoding import Decoder, Use
from traitsteer.engine.generation import _Stream, generate
from traitsteer.engine.graphs import Uncapturable, capturable
from traitsteer.engine.last_block import last_tokens, looking_at
from traitsteer.engine.prefill import prefill
from traitsteer.engine.rows import Batching, Row, Sampling, Steering
from traitsteer.engine.trial import try_out
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.model.language_model import LanguageModel, load

ROWS, SLOTS, PROMPT = 5, 6, 8
AS_THEY_ARE = Use(lambda logits, _: logits, reads_back=False)


class _NothingMixed(TorchDispatchMode):
    """Refuses whatever reads from one device and writes to another."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, result))
        # Numbers of the host without a dimension become arguments of the kernel.
        seen = {
            each.device.type
            for each in leaves
            if isinstance(each, Tensor) and (each.dim() > 0 or each is result)
        }
        assert len(seen) < 2, f"{func} mixes {seen}"
        return result


class _NothingMade(TorchFunctionMode):
    """Refuses tensors made of Python's numbers, and lists of them as indices."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        brought = func is torch.tensor or (
            func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[1], list)
        )
        assert not brought, f"{func} brings {args} along"
        return func(*args, **(kwargs or {}))


@contextmanager
def nothing_from_the_host() -> Iterator[None]:
    """Refuses what a graph cannot hold."""
    with _NothingMixed(), _NothingMade():
        yield


@pytest.fixture
def away(request: pytest.FixtureRequest, built: Built) -> LanguageModel:
    model = load(str(built(request.param)), chat=True, device="cpu", dtype="bfloat16")
    # With one, some architectures look for padding among the ids of a pass without a mask.
    model.model.config.get_text_config().pad_token_id = None
    # Whether its last block can do with some tokens is seen once, by reading numbers.
    with torch.inference_mode(), looking_at(model, model.layers - 1, last_tokens):
        pass
    model.model.to("meta")
    return model


def rows_of(model: LanguageModel) -> list[Row]:
    """Prompts of one length: transformers reads the mask of padded ones."""
    return [
        Row(
            tuple(range(20 + place, 20 + place + PROMPT)),
            place,
            Steering(place % model.layers, direction(place, model.width), 2.0) if place else None,
        )
        for place in range(ROWS)
    ]


@pytest.mark.parametrize("away", KINDS, indirect=True)
@torch.inference_mode()
def test_a_step_of_fixed_shapes_stays_on_its_device(away: LanguageModel) -> None:
    rows = rows_of(away)
    for sampling in (Sampling(60, 0.0), Sampling(60, 0.7, cut_loops=True)):
        stream = _Stream(away, rows, sampling, Batching(ROWS), True, lambda *_: None)
        decoder = stream.decoder
        # One slot has no row.
        decoder.admit(rows[1:], prefill(away, rows[1:]))
        with nothing_from_the_host():
            for _ in range(3):
                said = decoder.step()
        assert said.device.type == "meta" and said.shape == (ROWS - 1, 4)
        assert list(decoder.graphs) == [(ROWS, 80)], "tokens are chosen in the step"


@pytest.mark.parametrize("away", ["llama"], indirect=True)
@torch.inference_mode()
def test_rows_move_between_slots_on_their_device(away: LanguageModel) -> None:
    rows = rows_of(away)
    decoder = Decoder(away, AS_THEY_ARE, rows, SLOTS, 40, 20, 30, True)
    decoder.admit(rows, prefill(away, rows))
    beside = torch.zeros(SLOTS, 7, device="meta")
    decoder.leave(4, [4], [1], [beside])
    moves = decoder.runs.settle()
    assert [(move.blocks, *move.source, *move.target) for move in moves] == [
        (range(away.layers), 4, 1)
    ]
    decoder.slots.move(moves, 12)
    assert decoder.slots.shift(decoder.runs.slots, 12, 10) == 10
    assert decoder.slots.columns.end == 10


@pytest.mark.parametrize(
    "bring",
    [
        lambda there: there.copy_(torch.ones(3)),
        lambda there: torch.ones(3).to(there.device),
        lambda there: torch.tensor([1.0, 2.0], device=there.device),
        lambda there: there[torch.tensor([1])],
        lambda there: there[[1, 2]],
    ],
)
@torch.inference_mode()
def test_what_a_graph_cannot_hold_is_seen(bring: Callable[[Tensor], Tensor]) -> None:
    there = torch.zeros(3, device="meta")
    with nothing_from_the_host():
        there * 2.0 + there.new_ones(())
        with pytest.raises(AssertionError, match=r"mixes|brings"):
            bring(there)
    with pytest.raises(RuntimeError, match="meta"):
        bool(there.any())


def test_steps_are_captured_on_one_gpu_where_nothing_is_read_back(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    llama, neo = (
        load(str(built(kind, **changes)), device="cpu")
        for kind, changes in (("llama", {}), ("gpt_neo", GPT_NEO))
    )
    assert not capturable(llama), "on a CPU"
    monkeypatch.setattr(LanguageModel, "device", torch.device("cuda", 1))
    assert capturable(llama)
    assert not capturable(neo), "it attends in its own way"
    llama.model.is_loaded_in_8bit = True
    assert not capturable(llama)
    llama.model.is_loaded_in_8bit = False
    llama.model.lm_head.to("meta")
    assert not capturable(llama), "on two devices"


def test_a_model_whose_steps_cannot_be_captured_runs_without_and_says_so(
    built: Built, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(_forward: object, model: LanguageModel, _pool: object) -> None:
        raise Uncapturable(model, "a number was read back\nat some line")

    model = load(str(built("llama")), chat=True, device="cpu")
    rows = [Row(model.encode("the cat"), 3, Steering(1, direction(0, model.width), 3.0))]
    expected = [slow_reference(model, rows[0], Sampling(9))]
    monkeypatch.setattr(decoding, "captured", refused)
    monkeypatch.setattr(trial, "capturable", lambda _: True)
    for _ in range(2):
        found = generate(model, rows, Sampling(9), Batching(1))
        assert [answer.ids for answer in found] == expected
    assert [record.getMessage() for record in caplog.records] == [
        f"Steps of {model.name} cannot be captured as a CUDA graph (a number was read back): its "
        "steps run without being captured."
    ], "once"
    with pytest.raises(TraitsteerError, match=r"read back\); set models.capture to false"):
        generate(model, rows, Sampling(9), Batching(1, capture=True))
    monkeypatch.undo()
    assert try_out(model, True) == "captured", "what failed is tried again where it is asked for"


def test_a_model_that_fixed_shapes_do_not_fit_runs_without_and_says_so(
    built: Built, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """GPT-Neo counts its window from the last column, which is not written yet in such a step."""
    model = load(str(built("gpt_neo", **GPT_NEO)), chat=True, device="cpu")
    rows = [Row(model.encode("the cat"), 3, Steering(1, direction(0, model.width), 3.0))]
    expected = [slow_reference(model, rows[0], Sampling(9))]
    monkeypatch.setattr(trial, "capturable", lambda _: True)
    found = generate(model, rows, Sampling(9), Batching(1))
    assert [answer.ids for answer in found] == expected
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("Logits of GPTNeoForCausalLM with a step of fixed shapes differ")
    assert said.endswith("expected none: its steps run without being captured.")
