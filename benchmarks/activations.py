"""Made-up activations for the probe: two classes a distance apart, noise that is large in few axes."""

import torch
from torch import Tensor

from benchmarks.tasks import Probing


def labelled(task: Probing) -> tuple[Tensor, Tensor, Tensor]:
    """Activations [n, layers, width] float32, positive [n] bool, pair [n] int64.

    The spread of the axes falls as one over their rank, as it does in a residual stream; the
    classes lie 2 apart in units of the smallest spread that a unit of the mean direction has, so
    that they overlap and the best penalty lies inside the path.
    """
    generator = torch.Generator().manual_seed(task.seed)
    shape = (task.n, task.layers, task.width)
    spread = 1.0 / torch.arange(1, task.width + 1).float().sqrt()
    rows = torch.randn(shape, generator=generator) * spread
    positive = torch.arange(task.n) % 2 == 0
    apart = torch.randn(task.layers, task.width, generator=generator)
    apart = 2.0 * apart / apart.norm(dim=1, keepdim=True) * spread.square().mean().sqrt()
    rows += torch.where(positive, 0.5, -0.5)[:, None, None] * apart * task.width**0.25
    return rows, positive, torch.arange(task.n) // 2
