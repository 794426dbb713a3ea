"""Mean difference: the direction from one class's mean activation to the other's.

Source: Chen et al. 2025, "Persona Vectors" (arXiv:2507.21509); also called difference in means.
Steps: average the rows that show the trait, average the rows that show its opposite, subtract.
Nothing is regularised or scaled; the mean is accumulated in float64.
"""

import torch
from torch import Tensor

from traitsteer.words.errors import LayerFault, TooFewRows
from traitsteer.words.shapes import Bool, Float


def mean_difference(
    activations: Float[Tensor, "n layers d"], positive: Bool[Tensor, " n"]
) -> Float[Tensor, "layers d"]:
    """`mean(h | trait) - mean(h | opposite)` of each layer, float64, in residual-stream units.

    Raises TooFewRows when a class is empty, and LayerFault when the two means of a layer are
    equal.
    """
    count = int(positive.sum())
    if count == 0 or count == len(positive):
        raise TooFewRows(
            f"mean difference: found {count} positive rows of {len(positive)}; "
            "expected rows of both polarities"
        )
    weights = positive.double() / count - (~positive).double() / (len(positive) - count)
    layers = activations.unbind(dim=1)
    difference = torch.stack([weights @ layer.double() for layer in layers])
    # Equal rows leave a rounding error behind, which must not be mistaken for a direction.
    rounding = 1e-12 * activations.abs().amax(dim=(0, 2)).double()
    for layer in (difference.norm(dim=1) <= rounding).nonzero().flatten().tolist():
        raise LayerFault(
            "mean difference: layer {layer} has the same mean for both polarities; "
            "check that its activations differ between the rows",
            layer,
        )
    return difference
