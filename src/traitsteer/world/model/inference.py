"""Forward passes without gradients, by the kernels that are fastest for passes like ours.

torch multiplies float32 matrices in the BLAS that it was built with, which on x86 is Intel's MKL.
On processors of other makers oneDNN, which torch carries for other types, is faster at large ones,
above all for few rows; the numbers are the same up to the order of summation.

`transformers` writes a root mean square norm as eight operations. On a GPU each goes through the
memory, or is a launch; torch has one kernel for all of them, which rounds once.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import rms_norm

from traitsteer.world.machine import keep_freed_memory, processor_of_intel

LAST_TOKEN = torch.tensor([-1])
"""`logits_to_keep` as positions. Told how many, `transformers` takes a view of the rows, and the
product with a view goes through the output matrix once for each row on a GPU."""
_WEIGHTS = 1 << 18
"""Weights of a layer from which the faster product is worth its preparation for any input."""
_LEAST = 1 << 25
"""Multiplications from which it is for a smaller layer."""


def blas_at_home() -> bool:
    """Whether torch's BLAS is MKL on a processor of its own maker."""
    return torch.backends.mkl.is_available() and processor_of_intel()


class _Linear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        weights = self.weight.numel()
        large = weights >= _WEIGHTS or input.numel() // input.shape[-1] * weights >= _LEAST
        if not large or input.dtype != torch.float32:
            return super().forward(input)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            input, self.weight, self.bias, "none", [], ""
        )
        return product


Norm = Callable[[Tensor], Tensor]
_norms: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
"""Of the norms met, whether they do what torch's root mean square norm does."""


def one_kernel(module: nn.Module) -> Norm | None:
    """torch's kernel for a root mean square norm in 16 bits; None for any other module.

    Norms of `transformers` are classes of their own for each architecture, some of which multiply
    by something else than their weight: each module is tried once.
    """
    weight = module._parameters.get("weight")
    if weight is None or weight.dim() != 1 or weight.dtype not in (torch.bfloat16, torch.float16):
        return None
    alone = len(module._parameters) == 1 and not module._buffers and not module._modules
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    # Whoever gave the module a method of its own keeps it.
    if not alone or not isinstance(eps, float) or "forward" in module.__dict__:
        return None
    if module not in _norms:
        _norms[module] = _does_the_same(module, len(weight), eps)
    if not _norms[module]:
        return None
    return partial(rms_norm, normalized_shape=weight.shape, weight=weight, eps=eps)


@torch.inference_mode()
def _does_the_same(module: nn.Module, width: int, eps: float) -> bool:
    if len(inspect.signature(type(module).forward).parameters) != 2:
        return False
    # Small inputs, for which eps counts, and large ones.
    given = torch.arange(6.0 * width).sin().view(6, width)
    given = given * 10.0 ** torch.arange(-4.0, 2.0)[:, None]
    weight = 1 + torch.arange(float(width)).cos() / 2
    found = functional_call(module, {"weight": weight}, (given,))
    return torch.allclose(found, rms_norm(given, weight.shape, weight, eps), rtol=1e-5, atol=0)


@contextmanager
def told_by_the_host() -> Iterator[None]:
    """Raise `torch.OutOfMemoryError` where the host's memory does not suffice, as a GPU does.

    torch has no error of its own for it.
    """
    try:
        yield
    except RuntimeError as error:
        if "DefaultCPUAllocator: " not in str(error):
            raise
        raise torch.OutOfMemoryError(str(error)) from error


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Run the model without gradients while the context is open; after it, the model is as before.

    On a CPU, freed memory stays with the process, and large linear layers in float32 go through
    oneDNN, where that is faster. On a GPU, root mean square norms in 16 bits are one kernel each,
    and cuDNN's attention is switched off for this process: it plans anew at every shape that it
    meets, and here shapes change from pass to pass.
    """
    if any(parameter.is_cpu for parameter in model.parameters()):
        keep_freed_memory()
    fused: dict[nn.Module, Norm] = {}
    if any(parameter.is_cuda for parameter in model.parameters()):
        torch.backends.cuda.enable_cudnn_sdp(False)
        fused = {
            module: norm
            for module in model.modules()
            if (norm := one_kernel(module)) and module.weight.is_cuda
        }
    changed: list[nn.Module] = []
    onednn = torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
    if onednn and not blas_at_home():
        # A subclass, as layers of other libraries are, may do something else.
        changed = [
            module
            for module in model.modules()
            if type(module) is nn.Linear
            and module.weight.is_cpu
            and module.weight.dtype == torch.float32
        ]
    try:
        for module in changed:
            module.__class__ = _Linear
        for module, norm in fused.items():
            # Found before the method of the class; hooks stay.
            module.__dict__["forward"] = norm
        with torch.inference_mode(), told_by_the_host():
            yield
    finally:
        for module in changed:
            module.__class__ = nn.Linear
        for module in fused:
            module.__dict__.pop("forward", None)
