"""Rows of two classes that a known direction parts, at three layers of unlike scale."""

import torch
from torch import Tensor

SCALES = torch.tensor([0.1, 1.0, 50.0])


def planted(
    pairs: int, d: int, signal: float, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Noise of unit variance around a mean, plus or minus `signal` along one unit direction."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(3, d, generator=generator)
    direction /= direction.norm(dim=1, keepdim=True)
    pair = torch.arange(pairs).repeat_interleave(2)
    positive = torch.arange(2 * pairs) % 2 == 0
    noise = torch.randn(2 * pairs, 3, d, generator=generator)
    mean = 5 * torch.randn(3, d, generator=generator)
    sign = torch.where(positive, 1.0, -1.0)[:, None, None]
    rows = noise + mean + signal * sign * direction
    return rows * SCALES[:, None], positive, pair, direction
