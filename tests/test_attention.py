"""A decoding step's attention: torch's numbers, each kernel where it serves, gone afterwards."""

from collections.abc import Callable

import pytest
import torch
from steering_oracle import direction
from tiny import Built
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.profiler import ProfilerActivity, profile
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from traitsteer.engine import attention
from traitsteer.engine.attention import (
    PACKED,
    SUMMED,
    attend_packed,
    attend_summed,
    attending,
    step_kernel,
)
from traitsteer.engine.generation import generate
from traitsteer.engine.rows import Batching, Row, Sampling, Steering
from traitsteer.engine.trial import try_out
from traitsteer.world.model.language_model import LanguageModel, load

ROWS, SIZE = 5, 12
on_x86 = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="needs torch with FBGEMM"
)


def buffers(shared: int, columns: slice, width: int = 8, wide: int = 8) -> tuple[Tensor, Tensor]:
    """Columns of keys and values as they lie in the slots of more rows."""
    keys, values = (torch.randn(ROWS + 2, shared, SIZE, each) for each in (width, wide))
    return keys[:ROWS, :, columns], values[:ROWS, :, columns]


def masked(columns: int) -> Tensor:
    """A mask under which every row reads its last column and about half of the others."""
    read = torch.rand(ROWS, 1, 1, columns) < 0.5
    read[..., -1] = True
    return torch.zeros(read.shape).masked_fill(~read, torch.finfo(torch.float32).min)


def expected(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float | None = None
) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(groups, dim=1) for each in (key, value))
    found = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    return found.transpose(1, 2)


@pytest.mark.parametrize("home", [False, True])
@pytest.mark.parametrize("attend", [attend_packed, attend_summed])
@pytest.mark.parametrize("heads", [2, 6])
@pytest.mark.parametrize("columns", [slice(0, SIZE), slice(3, 10), slice(4, 5)])
@pytest.mark.parametrize(("wide", "scale"), [(8, None), (8, 0.2), (3, None)])
def test_it_is_the_attention_of_torch(
    attend: Callable[..., tuple[Tensor, None]],
    heads: int,
    columns: slice,
    wide: int,
    scale: float | None,
    home: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attention, "blas_at_home", lambda: home)
    key, value = buffers(2, columns, wide=wide)
    # Queries come as a view of what a linear layer gave.
    query, mask = torch.randn(ROWS, 1, heads, 8).transpose(1, 2), masked(key.shape[2])
    found, nothing = attend(nn.Identity(), query, key, value, mask, scaling=scale)
    assert nothing is None
    assert torch.allclose(found, expected(query, key, value, mask, scale), atol=1e-6)


@pytest.mark.parametrize("attend", [attend_packed, attend_summed])
def test_what_is_masked_plays_no_part_however_large_it_is(
    attend: Callable[..., tuple[Tensor, None]],
) -> None:
    key, value = buffers(2, slice(0, SIZE))
    query, mask = torch.randn(ROWS, 2, 1, 8), masked(SIZE)
    before = attend(nn.Identity(), query, key, value, mask)[0].clone()
    hidden = (mask < 0).expand(ROWS, 2, 1, SIZE)[:, :, 0]
    key[hidden], value[hidden] = 1e9, -1e9
    assert torch.equal(attend(nn.Identity(), query, key, value, mask)[0], before)


def test_values_that_lie_otherwise_and_a_bias_of_positions_go_to_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key, value = buffers(2, slice(0, SIZE))
    query, mask = torch.randn(ROWS, 2, 1, 8), masked(SIZE)
    turned = value.transpose(1, 2).contiguous().transpose(1, 2)
    bias = torch.randn(1, 2, 1, SIZE)
    for other, more in ((turned, {}), (value, {"position_bias": bias})):
        with profile(activities=[ProfilerActivity.CPU], acc_events=True) as seen:
            found, _ = attend_summed(nn.Identity(), query, key, other, mask, **more)
        assert "aten::scaled_dot_product_attention" in {event.key for event in seen.key_averages()}
        whole = mask + more.get("position_bias", torch.zeros(1))
        assert torch.allclose(found, expected(query, key, value, whole), atol=1e-6)
    theirs = torch.zeros(ROWS, 1, 2, 8), None
    # Some versions of it refuse a cap, and others leave it out.
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "sdpa", lambda *_, softcap, **__: theirs)
    assert attend_summed(nn.Identity(), query, key, value, mask, softcap=30.0) is theirs


@pytest.mark.parametrize(
    ("kind", "changes", "own"),
    [
        pytest.param("llama", {}, SUMMED, marks=on_x86),
        pytest.param("qwen3", {}, SUMMED, marks=on_x86),
        pytest.param("gemma3", {}, SUMMED, marks=on_x86),
        ("llama", {"dtype": "bfloat16"}, PACKED),
        # Softcapped scores are for the eager kernel alone, and falcon knows no other kernels.
        ("gemma2", {}, "eager"),
        ("falcon", {}, "sdpa"),
    ],
)
def test_each_model_has_the_kernel_that_serves_it(
    built: Built, kind: str, changes: dict[str, str], own: str
) -> None:
    model = load(str(built(kind)), chat=True, device="cpu", **changes)
    config = model.model.config.get_text_config()
    before = config._attn_implementation
    assert step_kernel(model) == own
    rows = [
        Row(model.encode("the cat"), seed, Steering(1, direction(0, model.width), 2.0))
        for seed in range(3)
    ]
    try_out(model)
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as seen:
        generate(model, rows, Sampling(5), Batching(3))
    counted = {event.key: event.count for event in seen.key_averages()}
    # The first of five tokens comes from the prompt.
    assert counted.get("aten::embedding_bag", 0) == (4 * model.layers if own == SUMMED else 0)
    assert config._attn_implementation == before


@on_x86
def test_a_table_of_kernels_of_the_architectures_own_is_kept(
    llama: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "transformers.models.llama.modeling_llama.ALL_ATTENTION_FUNCTIONS"
    monkeypatch.setattr(module, {})
    assert step_kernel(llama) == "sdpa"
    monkeypatch.delattr(module)
    assert step_kernel(llama) == "sdpa"


def test_the_models_kernel_is_back_after_an_exception(llama: LanguageModel) -> None:
    config = llama.model.config
    with pytest.raises(KeyboardInterrupt), attending(llama, SUMMED):
        assert config._attn_implementation == SUMMED
        raise KeyboardInterrupt
    assert config._attn_implementation == "sdpa"
