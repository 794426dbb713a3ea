"""Made-up activations for the probe: two classes that overlap, noise that is large in few axes."""

import torch
from torch import Tensor

from benchmarks.tasks import Probing

APART = 3.0


def labelled(task: Probing) -> tuple[Tensor, Tensor, Tensor]:
    """Activations [n, layers, width] float32, positive [n] bool, pair [n] int64.

    The spread of the axes falls as one over the root of their rank, as it does in a residual
    stream; the classes lie 3 standard deviations apart along a random direction, so that they
    overlap and the best penalty lies inside the path.
    """
    generator = torch.Generator().manual_seed(task.seed)
    shape = (task.n, task.layers, task.width)
    spread = 1.0 / torch.arange(1, task.width + 1).float().sqrt()
    rows = torch.randn(shape, generator=generator) * spread
    positive = torch.arange(task.n) % 2 == 0
    apart = torch.randn(task.layers, task.width, generator=generator)
    apart = APART * apart / apart.norm(dim=1, keepdim=True) * spread
    rows += torch.where(positive, 0.5, -0.5)[:, None, None] * apart
    return rows, positive, torch.arange(task.n) // 2
