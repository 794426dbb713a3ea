"""Passes on a CPU: faster products and kept memory, the same numbers, only while asked for."""

import platform
import subprocess
import sys

import pytest
import torch
from steering_oracle import mixed_rows, slow_reference
from tiny import KINDS, Built
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from traitsteer.engine.generation import generate
from traitsteer.engine.rows import Batching, Sampling
from traitsteer.world.model import inference
from traitsteer.world.model.language_model import LanguageModel, load


class Doubled(nn.Linear):
    """A layer of somebody else."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def layers(*shapes: tuple[int, int]) -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(inner, outer, bias=outer % 2 == 0) for inner, outer in shapes]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor of another maker than the BLAS has."""
    monkeypatch.setattr(inference, "blas_at_home", lambda: False)


def test_mkl_is_left_alone_on_processors_of_its_maker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    model = nn.Sequential(*layers((512, 512)))
    for maker, home in ((True, True), (False, False)):
        monkeypatch.setattr(inference, "processor_of_intel", lambda maker=maker: maker)
        assert inference.blas_at_home() == home
        with inference.inference(model):
            assert (type(model[0]) is nn.Linear) == home
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    monkeypatch.setattr(inference, "processor_of_intel", lambda: True)
    assert not inference.blas_at_home()


_FAULTS = """
import resource, sys, torch
from traitsteer.world.model.inference import inference
if sys.argv[1] == "inside":
    with inference(torch.nn.Linear(2, 2)):
        pass
for _ in range(40):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(12 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
"""Pages that the system maps for 48 MiB that were freed and are needed again."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator than glibc's")
def test_memory_that_a_pass_has_freed_is_there_for_the_next() -> None:
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", _FAULTS, where], capture_output=True, text=True, check=True
            ).stdout
        )
        for where in ("outside", "inside")
    ]
    assert faults[0] > 8192
    assert faults[1] < 512


@pytest.mark.usefixtures("elsewhere")
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


@pytest.mark.usefixtures("elsewhere")
def test_only_large_products_of_plain_layers_in_float32_are_changed() -> None:
    large, middle, small = layers((512, 512), (256, 256), (8, 8))
    other, short = Doubled(512, 512), layers((512, 512))[0].bfloat16()
    model = nn.ModuleList([large, middle, small, other, short])
    calls = [(large, 600), (large, 1), (middle, 600), (middle, 3), (small, 600), (other, 600)]
    with (
        inference.inference(model),
        profile(activities=[ProfilerActivity.CPU], acc_events=True) as seen,
    ):
        for layer, rows in calls:
            layer(torch.randn(rows, layer.in_features))
    counted = {event.key: event.count for event in seen.key_averages()}
    assert counted["mkldnn::_linear_pointwise"] == 3
    assert counted["aten::linear"] == 3
    assert type(short) is nn.Linear


@pytest.mark.usefixtures("elsewhere")
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


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_are_those_of_the_slow_reference_in_any_batch(
    llama: LanguageModel, monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    monkeypatch.setattr(inference, "_LEAST", 1)
    rows, sampling = mixed_rows(llama), Sampling(12, temperature)
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as seen:
        together = generate(llama, rows, sampling, Batching(16))
    counted = {event.key: event.count for event in seen.key_averages()}
    assert "aten::linear" not in counted
    assert counted["mkldnn::_linear_pointwise"] > 100
    assert [g.ids for g in together] == [slow_reference(llama, row, sampling) for row in rows]
    assert generate(llama, rows[::-1], sampling, Batching(1)) == together[::-1]


class Scaled(LlamaRMSNorm):
    """Multiplies by something else than its weight."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        return super().forward(hidden_states) * 1.01


class Gated(LlamaRMSNorm):
    """Takes more than what it normalises."""

    def forward(self, hidden_states: Tensor, gate: Tensor | None = None) -> Tensor:
        return super().forward(hidden_states if gate is None else hidden_states * gate)


OTHERWISE = ("falcon", "gemma2", "gemma3", "gemma3_text", "gpt2", "gpt_neox", "mpt")
"""They take away the mean, or multiply by one more than their weight."""


@pytest.mark.parametrize("kind", KINDS)
def test_one_kernel_does_what_the_norms_of_an_architecture_do(kind: str, built: Built) -> None:
    model = load(str(built(kind)), chat=True, device="cpu", dtype="bfloat16").model
    norms = [module for module in model.modules() if "Norm" in type(module).__name__]
    found = [(norm, kernel) for norm in norms if (kernel := inference.one_kernel(norm))]
    assert bool(found) == (kind not in OTHERWISE)
    for norm, kernel in found:
        given = torch.randn(3, 5, norm.weight.shape[0]).bfloat16()
        assert torch.allclose(kernel(given), norm(given), rtol=2**-6, atol=1e-6)


def test_norms_that_are_something_else_are_left() -> None:
    def norm(
        kind: type[nn.Module] = LlamaRMSNorm, dtype: torch.dtype = torch.bfloat16
    ) -> nn.Module:
        return kind(16, eps=1e-3).to(dtype)

    assert inference.one_kernel(norm()) is not None
    for own in (nn.RMSNorm(64, eps=1e-6).bfloat16(), LlamaRMSNorm(64, eps=1e-6).bfloat16()):
        kernel, given = inference.one_kernel(own), torch.randn(5, 64).bfloat16()
        assert kernel is not None
        assert torch.allclose(kernel(given), own(given), rtol=2**-6, atol=1e-6)
    others = [norm(dtype=torch.float32), norm(Scaled), norm(Gated), nn.LayerNorm(16).bfloat16()]
    given_another = norm()
    given_another.forward = given_another.forward
    for other in [*others, given_another, nn.Linear(4, 4).bfloat16(), nn.Identity()]:
        assert inference.one_kernel(other) is None
