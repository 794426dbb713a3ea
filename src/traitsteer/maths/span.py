"""The rows of one layer along their principal axes: where a penalised fit lies, n numbers a row."""

from dataclasses import dataclass

import torch
from torch import Tensor

from traitsteer.words.errors import LayerFault

_CLEAR = 1e4
"""float32 serves for a Gram matrix whose least eigenvalue is this many roundings of its largest."""


@dataclass(frozen=True)
class Span:
    """One layer as the probe sees it."""

    features: Tensor
    """Coordinates along the principal axes of the rows, `[n, min(n, d)]` float32, and a last 1."""
    back: Tensor
    """Turns weights for the coordinates into raw weights, up to `rows`: `[min(n, d), n or d]`."""
    mean: Tensor
    """`[d]`, taken off the rows before they were divided by `scale`."""
    scale: Tensor

    @staticmethod
    def of(activations: Tensor, layer: int) -> "Span":
        """Exact up to axes that carry less than rounding error, whose coordinates are 0.

        Where n > d or both are equal, the axes only turn the rows: they need not be exact, since
        a rotation that is off by float32's rounding changes each |w|^2 by no larger share, and
        the optimum by its square. Where n < d, the coordinates stem from the eigenvalues, so
        float64 has to keep apart small ones from the rounding error of the largest.
        """
        n, _, d = activations.shape
        rows = activations[:, layer].double()
        mean = rows.mean(dim=0)
        rows = rows - mean
        scale = rows.square().mean().sqrt()
        if not bool(scale.isfinite()) or float(scale) <= 1e-12 * float(mean.abs().max()):
            raise LayerFault(
                f"probe: layer {{layer}} varies by {float(scale)} between rows; expected finite "
                "activations that differ, so check how they were read",
                layer,
            )
        rows /= scale
        if d <= n:
            turned = rows.float()
            axes = torch.linalg.eigh(turned.T @ turned)[1].double()
            coordinates, back = rows @ axes, axes.T / scale
        else:
            single = rows.float()
            power, axes = torch.linalg.eigh(single @ single.T)
            # Centring takes one axis; the next one has the least power.
            if power[1] < _CLEAR * torch.finfo(power.dtype).eps * power[-1]:
                power, axes = torch.linalg.eigh(rows @ rows.T)
            carried = power > power[-1] * d * torch.finfo(power.dtype).eps
            power, axes = power.double(), axes.double()
            root = torch.where(carried, power, 0.0).sqrt()
            coordinates = axes * root
            back = (axes * torch.where(carried, 1 / root, 0.0)).T / scale**2
        features = torch.cat([coordinates, coordinates.new_ones(n, 1)], dim=1).float()
        return Span(features, back, mean, scale)

    def raw(self, rows: Tensor, weight: Tensor) -> Tensor:
        """Weights `[d]` for raw `rows [n, d]` of weights for the features."""
        weight = weight[:-1] @ self.back
        if rows.shape[1] <= rows.shape[0]:
            return weight
        return rows.double().T @ weight - weight.sum() * self.mean
