"""Forward passes without gradients, by the kernels that are fastest for passes like ours.

torch multiplies float32 matrices in the BLAS that it was built with. On some processors oneDNN,
which it carries for other types, is faster at large ones, above all for few rows; the numbers are
the same up to the order of summation.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_WEIGHTS = 1 << 18
"""Weights of a layer from which the faster product is worth its preparation for any input."""
_LEAST = 1 << 25
"""Multiplications from which it is for a smaller layer."""


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


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Run the model without gradients while the context is open; after it, the model is as before.

    Large linear layers in float32 on a CPU go through oneDNN, where torch has it. On a GPU, cuDNN's
    attention is switched off for this process: it plans anew at every shape that it meets, and
    here shapes change from pass to pass.
    """
    if any(parameter.is_cuda for parameter in model.parameters()):
        torch.backends.cuda.enable_cudnn_sdp(False)
    changed: list[nn.Module] = []
    if torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled:
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
        with torch.inference_mode():
            yield
    finally:
        for module in changed:
            module.__class__ = nn.Linear
