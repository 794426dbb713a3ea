"""The engine on a GPU, where there is one: captured steps, memory that runs out, both dtypes."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from planted_rows import planted
from reading_oracle import block_outputs, close
from steering_oracle import direction, hooks, mixed_rows, slow_reference
from test_likelihood import by_hand
from tiny import KINDS, OWN_CACHE, Built

from traitsteer.engine import decoding
from traitsteer.engine.generation import generate
from traitsteer.engine.likelihood import Told, log_likelihood
from traitsteer.engine.reading import Recorded, pooled_activations
from traitsteer.engine.rows import Batching, Row, Sampling, Steering
from traitsteer.engine.trial import try_out
from traitsteer.maths.folds import fold_numbers
from traitsteer.maths.positions import Position
from traitsteer.maths.probe import fit_probe
from traitsteer.world.model.language_model import LanguageModel, load

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
GPU = "cuda"
SAMPLED = Sampling(80, 1.0)
"""Longer than the slack of the columns, so that they are shifted."""


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each step that was captured."""
    made: list[int] = []
    own = decoding.captured

    def captured(*given: object) -> object:
        made.append(1)
        return own(*given)

    monkeypatch.setattr(decoding, "captured", captured)
    return made


@pytest.fixture
def on_gpu(request: pytest.FixtureRequest, built: Built) -> LanguageModel:
    """A tiny model with many tokens that end a response, so that lengths differ widely."""
    model = load(str(built(request.param)), chat=True, device=GPU)
    model.model.generation_config.eos_token_id = list(range(1, 14))
    return model


@pytest.mark.parametrize("on_gpu", KINDS, indirect=True)
def test_captured_steps_say_what_slow_passes_say(
    on_gpu: LanguageModel, captures: list[int]
) -> None:
    # The trial captures too.
    try_out(on_gpu)
    captures.clear()
    rows = mixed_rows(on_gpu)
    for sampling in (Sampling(24, 0.0), SAMPLED):
        expected = [slow_reference(on_gpu, row, sampling) for row in rows[::2]]
        for slots in (7, 64):
            before = hooks(on_gpu)
            found = generate(on_gpu, rows, sampling, Batching(slots, 100))
            assert [answer.ids for answer in found[::2]] == expected
            assert hooks(on_gpu) == before
    kind = on_gpu.model.config.model_type
    # The first two attend in ways of their own; experts in float32 read numbers back.
    assert on_gpu.tried.get("captured", False) == (kind not in ("falcon", "mpt", "mixtral"))
    assert captures or not on_gpu.tried.get("captured")


@pytest.mark.parametrize("kind", sorted(OWN_CACHE))
def test_caches_of_their_own_say_what_slow_passes_say(kind: str, built: Built) -> None:
    model = load(str(built(kind, **OWN_CACHE[kind])), chat=True, device=GPU)
    rows = mixed_rows(model)
    for sampling in (Sampling(12, 0.0), Sampling(12, 1.0)):
        expected = [slow_reference(model, row, sampling) for row in rows[::2]]
        found = generate(model, rows, sampling, Batching(7))
        assert [answer.ids for answer in found[::2]] == expected
    assert try_out(model) == "own cache"


@pytest.mark.parametrize("on_gpu", ["llama"], indirect=True)
def test_loops_are_cut_in_captured_steps_too(on_gpu: LanguageModel, captures: list[int]) -> None:
    """Slots whose rows have left go on counting, here beyond the longest response."""
    try_out(on_gpu)
    captures.clear()
    on_gpu.model.generation_config.eos_token_id = list(range(1, 60))
    rows = [Row(tuple(range(20, 26 + n % 5)), n) for n in range(90)]
    sampling = Sampling(40, 1.0, cut_loops=True)
    found = generate(on_gpu, rows, sampling, Batching(30))
    assert captures
    assert found == generate(on_gpu, rows, sampling, Batching(90, capture=False))


@pytest.mark.parametrize("on_gpu", KINDS, indirect=True)
def test_reading_and_likelihood_are_those_of_plain_passes(on_gpu: LanguageModel) -> None:
    recorded = [
        Recorded(str(n), tuple(range(9, 12 + n)), tuple(range(40, 43 + 2 * n))) for n in range(9)
    ]
    read = pooled_activations(on_gpu, recorded, Position.parse("response[:5]"), 64)
    for found, item in zip(read, recorded, strict=True):
        start = len(item.prompt_ids)
        outputs = block_outputs(on_gpu, item).cpu()
        assert close(found, outputs[:, start : start + 5].mean(dim=1), 1e-4)
    told = [
        Told(
            item.id,
            item.prompt_ids,
            item.response_ids,
            Steering(n % on_gpu.layers, direction(n, on_gpu.width), 4.0) if n else None,
        )
        for n, item in enumerate(recorded)
    ]
    expected = torch.tensor([by_hand(on_gpu, row)[0] for row in told], dtype=torch.float64)
    for tokens in (4096, 1):
        assert torch.allclose(log_likelihood(on_gpu, told, tokens).log_p, expected, rtol=1e-4)


@contextmanager
def little_memory() -> Iterator[None]:
    """Nothing but what is there already and 24 MiB."""
    gc.collect()
    torch.cuda.empty_cache()
    whole = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 24 * 2**20) / whole)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@pytest.mark.parametrize("on_gpu", ["llama"], indirect=True)
def test_memory_that_runs_out_halves_the_rows_and_no_answer(
    on_gpu: LanguageModel, captures: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Libraries take memory of their own at their first use.
    try_out(on_gpu)
    captures.clear()
    halved: list[int] = []
    own = decoding.Decoder.drop

    def drop(decoder: decoding.Decoder) -> None:
        halved.append(decoder.slots.slots)
        own(decoder)

    monkeypatch.setattr(decoding.Decoder, "drop", drop)
    rows = [
        Row(tuple(range(20, 28 + n % 5)), n, Steering(n % 3, direction(n), 3.0)) for n in range(600)
    ]
    with little_memory():
        found = generate(on_gpu, rows, SAMPLED, Batching(600))
    assert halved and captures
    few = rows[:600:60]
    expected = [slow_reference(on_gpu, row, SAMPLED) for row in few]
    assert [answer.ids for answer in found[:600:60]] == expected


@pytest.mark.parametrize("on_gpu", ["llama"], indirect=True)
def test_a_judge_may_use_the_gpu_while_steps_are_captured(
    on_gpu: LanguageModel, captures: list[int], built: Built
) -> None:
    judging = load(str(built("qwen2")), chat=True, device=GPU, dtype="bfloat16")
    # As when a study opens its model: whether steps can be captured is seen before others begin.
    try_out(on_gpu)
    captures.clear()
    done = threading.Event()
    failed: list[Exception] = []

    texts = torch.tensor([[9, 8, 7, 6], [5, 4, 3, 2]])

    def judge() -> None:
        try:
            while not done.is_set():
                with torch.inference_mode():
                    logits = judging.model(input_ids=texts.to(GPU)).logits
                assert bool(logits.isfinite().all())
        except Exception as error:  # noqa: BLE001 - told below, in the test's thread
            failed.append(error)

    beside = threading.Thread(target=judge)
    beside.start()
    try:
        rows = mixed_rows(on_gpu)
        found = generate(on_gpu, rows, SAMPLED, Batching(7))
    finally:
        done.set()
        beside.join()
    assert not failed and captures
    assert [answer.ids for answer in found[:9]] == [
        slow_reference(on_gpu, row, SAMPLED) for row in rows[:9]
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_in_bfloat16_the_same_rows_say_the_same_again(kind: str, built: Built) -> None:
    """That logits are those of plain passes up to rounding, `generate` tries before it begins."""
    model = load(str(built(kind)), chat=True, device=GPU, dtype="bfloat16")
    rows = mixed_rows(model)
    first = generate(model, rows, SAMPLED, Batching(16))
    assert not any("forward" in vars(module) for module in model.model.modules())
    assert generate(model, rows, SAMPLED, Batching(16)) == first
    assert model.tried.get("captured", False) == (kind not in ("falcon", "mpt"))


def test_the_probe_of_activations_on_a_gpu_is_that_of_the_host() -> None:
    activations, positive, pair, _ = planted(40, 96, 0.4)
    fold_of = fold_numbers(positive, pair, 5, seed=0)
    fits = [
        fit_probe(rows, positive, fold_of, [0.1, 10.0])
        for rows in (activations, activations.to(GPU))
    ]
    assert close(fits[1].weights.cpu(), fits[0].weights, 1e-4)
    assert torch.equal(fits[1].penalties.cpu(), fits[0].penalties)
