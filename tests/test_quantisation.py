"""Models of 8 and 4 bits on a GPU: steered, read and counted, where bitsandbytes is installed."""

from importlib.util import find_spec

import pytest
import torch
from reading_oracle import block_outputs
from steering_oracle import hooks, mixed_rows, slow_reference
from tiny import Built

from traitsteer.engine.generation import generate
from traitsteer.engine.graphs import capturable
from traitsteer.engine.reading import Recorded, pooled_activations
from traitsteer.engine.rows import Batching, Row, Sampling, Steering
from traitsteer.engine.trial import try_out
from traitsteer.maths.positions import Position
from traitsteer.words.records import Quantisation
from traitsteer.world.model.language_model import LanguageModel, load
from traitsteer.world.model.memory import sizes_of
from traitsteer.world.model.model_files import skeleton

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or find_spec("bitsandbytes") is None,
    reason="needs a GPU and bitsandbytes",
)
WIDE = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32}
"""Whole blocks of 64 weights, as those of real models."""
SAMPLED = Sampling(24, 1.0)


def opened(folder: str, quantisation: Quantisation, dtype: str = "float32") -> LanguageModel:
    return load(folder, chat=True, device="cuda", dtype=dtype, quantisation=quantisation)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma3_text", "gpt_neox"])
def test_of_four_bits_every_row_says_what_slow_passes_say(kind: str, built: Built) -> None:
    model = opened(str(built(kind, **WIDE)), "int4")
    assert any(p.dtype == torch.uint8 for p in model.model.parameters())
    assert capturable(model) and try_out(model) == "captured"
    rows = mixed_rows(model)
    before = hooks(model)
    for sampling in (Sampling(24, 0.0), SAMPLED):
        expected = [slow_reference(model, row, sampling) for row in rows[::2]]
        for slots in (7, 64):
            found = generate(model, rows, sampling, Batching(slots, 100))
            assert [answer.ids for answer in found[::2]] == expected
    assert hooks(model) == before


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("quantisation", ["int8", "int4"])
def test_the_same_rows_say_the_same_again(
    quantisation: Quantisation, dtype: str, built: Built, caplog: pytest.LogCaptureFixture
) -> None:
    model = opened(str(built("llama", **WIDE)), quantisation, dtype)
    assert model.dtype == getattr(torch, dtype)
    # Outliers in 8 bits are looked for on the host.
    assert try_out(model) == ("captured" if quantisation == "int4" else "shared")
    rows = mixed_rows(model)
    first = generate(model, rows, SAMPLED, Batching(16))
    assert generate(model, rows, SAMPLED, Batching(16)) == first
    unsteered = [Row(row.prompt_ids, row.seed) for row in rows]
    at_nothing = [Row(r.prompt_ids, r.seed, Steering(1, torch.ones(128), 0.0)) for r in rows]
    plain = generate(model, unsteered, SAMPLED, Batching(16))
    assert plain == generate(model, at_nothing, SAMPLED, Batching(16)) != first
    assert "will be cast" not in caplog.text


@pytest.mark.parametrize(("quantisation", "apart"), [("int8", 0.05), ("int4", 1e-4)])
def test_activations_are_those_of_plain_passes_and_near_those_of_whole_weights(
    quantisation: Quantisation, apart: float, built: Built
) -> None:
    folder = str(built("llama", **WIDE))
    model, whole = opened(folder, quantisation), opened(folder, "none")
    recorded = [
        Recorded(str(n), tuple(range(9, 12 + n)), tuple(range(40, 43 + 2 * n))) for n in range(9)
    ]
    read = pooled_activations(model, recorded, Position.parse("response[:5]"), 64)
    unquantised = pooled_activations(whole, recorded, Position.parse("response[:5]"), 64)
    for found, item in zip(read, recorded, strict=True):
        start = len(item.prompt_ids)
        plain = block_outputs(model, item).cpu()[:, start : start + 5].mean(dim=1)
        assert (found - plain).norm() <= apart * plain.norm()
    alike = torch.nn.functional.cosine_similarity(read, unquantised, dim=-1)
    assert 0.8 < float(alike.mean()) < 0.99999


@pytest.mark.parametrize(("quantisation", "share"), [("int8", 0.6), ("int4", 0.4)])
def test_the_weights_take_what_check_says(
    quantisation: Quantisation, share: float, built: Built
) -> None:
    folder = str(built("llama", hidden_size=512, intermediate_size=1024, num_hidden_layers=8))
    told = sizes_of(skeleton(folder, None, False, "bfloat16"), quantisation).weights
    whole = sizes_of(skeleton(folder, None, False, "bfloat16"), "none").weights
    assert told < share * whole
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    model = opened(folder, quantisation, "bfloat16")
    taken = torch.cuda.memory_allocated() - before
    assert model.layers == 8
    assert taken == pytest.approx(told, rel=0.05)
