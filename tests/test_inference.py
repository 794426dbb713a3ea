"""Large linear layers on a CPU: a faster product, the same numbers, only while asked for."""

import pytest
import torch
from steering_oracle import mixed_rows, slow_reference
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from traitsteer.engine.generation import generate
from traitsteer.engine.rows import Batching, Sampling
from traitsteer.world import inference
from traitsteer.world.language_model import LanguageModel


class Doubled(nn.Linear):
    """A layer of somebody else."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def layers(*shapes: tuple[int, int]) -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(inner, outer, bias=outer % 2 == 0) for inner, outer in shapes]


@pytest.mark.parametrize("shape", [(512, 513), (513, 512)])
@pytest.mark.parametrize("rows", [(400,), (4, 100), (1, 1)])
def test_it_is_the_product_of_torch(shape: tuple[int, int], rows: tuple[int, ...]) -> None:
    model = nn.Sequential(*layers(shape))
    given = torch.randn(*rows, shape[0])
    expected = model(given).detach()
    with inference.inference(model):
        assert torch.allclose(model(given), expected, atol=1e-5)
        strided = given.transpose(0, -1).contiguous().transpose(0, -1)
        assert torch.allclose(model(strided), expected, atol=1e-5)


def test_only_large_products_of_plain_layers_in_float32_are_changed() -> None:
    large, middle, small = layers((512, 512), (256, 256), (8, 8))
    other, short = Doubled(512, 512), layers((512, 512))[0].bfloat16()
    model = nn.ModuleList([large, middle, small, other, short])
    calls = [(large, 600), (large, 1), (middle, 600), (middle, 3), (small, 600), (other, 600)]
    with inference.inference(model), profile(activities=[ProfilerActivity.CPU]) as seen:
        for layer, rows in calls:
            layer(torch.randn(rows, layer.in_features))
    counted = {event.key: event.count for event in seen.key_averages()}
    assert counted["mkldnn::_linear_pointwise"] == 3
    assert counted["aten::linear"] == 3
    assert type(short) is nn.Linear


def test_the_model_is_as_before_after_an_exception_and_within_another_context() -> None:
    model = nn.Sequential(*layers((64, 64), (64, 64)))
    names = set(model.state_dict())
    with pytest.raises(KeyboardInterrupt), inference.inference(model):
        with inference.inference(model):
            assert not torch.is_grad_enabled()
        assert {type(layer) for layer in model} != {nn.Linear}
        raise KeyboardInterrupt
    assert {type(layer) for layer in model} == {nn.Linear}
    assert set(model.state_dict()) == names
    assert model(torch.ones(1, 64)).requires_grad


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_are_those_of_the_slow_reference_in_any_batch(
    llama: LanguageModel, monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    monkeypatch.setattr(inference, "_LEAST", 1)
    rows, sampling = mixed_rows(llama), Sampling(12, temperature)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        together = generate(llama, rows, sampling, Batching(16))
    counted = {event.key: event.count for event in seen.key_averages()}
    assert "aten::linear" not in counted
    assert counted["mkldnn::_linear_pointwise"] > 100
    assert [g.ids for g in together] == [slow_reference(llama, row, sampling) for row in rows]
    assert generate(llama, rows[::-1], sampling, Batching(1)) == together[::-1]
