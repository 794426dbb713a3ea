"""One Newton step of many logistic regressions at once: where it goes, and how far.

A problem is a row of every layer: all share the features of their layer, and differ in the rows of
the data that they are fitted on and in their penalty.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus

from traitsteer.words.shapes import Bool, Float

_MOST_PRODUCTS = 200
"""Conjugate gradient iterations of one Newton step."""
_INEXACT = 0.2
"""A Newton step is solved until its preconditioned residual has shrunk to this share."""
_WORTH_DROPPING = 0.8
"""Rows leave conjugate gradients once no more than this share of them is unsolved."""
_LONGEST = 4.0
"""Most of a Newton step that is taken."""
_LENGTHS = 4
"""Lengths tried for each Newton step, and more while one would raise its objective."""
_MOST_LENGTHS = 40
_ROUNDING = 1e-6
"""A sum in float32 is this exact, relatively."""
TOLERANCE = 1e-8
"""Newton stops after a step that promises less than this share of each objective.

Where an objective is flat, a step that is solved roughly promises but a small part of what is left.
"""


def newton_step(
    features: Float[Tensor, "layers n f"],
    curvature: Float[Tensor, "layers problems n"],
    gradient: Float[Tensor, "layers problems f"],
    penalty: Float[Tensor, "problems f"],
) -> tuple[
    Float[Tensor, "layers problems f"],
    Float[Tensor, "layers problems n"],
    Bool[Tensor, "layers problems"],
]:
    """Solve Hessian @ step = -gradient by conjugate gradients.

    Also gives the change of the logits, `step @ features.mT`, and says which steps are solved.
    The features are the principal axes of the rows, so their Gram matrix is diagonal: times the
    mean curvature, and with the penalty, it is the preconditioner. A row of the batch leaves once
    it is solved in every layer.
    """
    power = features.square().sum(dim=1, keepdim=True)
    diagonal = curvature.mean(dim=2, keepdim=True) * power + penalty
    tiny = torch.finfo(diagonal.dtype).tiny
    diagonal = diagonal.clamp_min(tiny)
    # Of length 1, so that no square leaves the range of float32.
    size = gradient.norm(dim=2, keepdim=True).clamp_min(tiny)
    residual = -gradient / size
    step, change = torch.zeros_like(residual), torch.zeros_like(curvature)
    solved = torch.zeros_like(size[:, :, 0], dtype=torch.bool)
    search = residual / diagonal
    norm = (residual * search).sum(dim=2, keepdim=True)
    enough = _INEXACT**2 * norm
    open_ = torch.arange(len(penalty), device=penalty.device)
    for _ in range(_MOST_PRODUCTS):
        image = search @ features.mT
        bend = (curvature * image) @ features + penalty * search
        slope = (search * bend).sum(dim=2, keepdim=True)
        # A solved problem stands still while others go on: past its optimum, rounding would grow.
        going = (slope > 0) & ~solved[:, open_, None]
        stride = torch.where(going, norm / slope, 0.0)
        step[:, open_] += stride * search
        change[:, open_] += stride * image
        residual = residual - stride * bend
        scaled = residual / diagonal
        last, norm = norm, (residual * scaled).sum(dim=2, keepdim=True)
        solved[:, open_] |= (norm <= enough)[:, :, 0]
        kept = ~solved[:, open_].all(dim=0)
        if not kept.any():
            break
        search = scaled + torch.where(last > 0, norm / last, 0.0) * search
        if kept.double().mean() < _WORTH_DROPPING:
            open_, penalty = open_[kept], penalty[kept]
            residual, search, diagonal = residual[:, kept], search[:, kept], diagonal[:, kept]
            norm, enough, curvature = norm[:, kept], enough[:, kept], curvature[:, kept]
    return step * size, change * size, solved


def best_length(
    rows: Float[Tensor, "problems n"],
    margin: Float[Tensor, "layers problems n"],
    change: Float[Tensor, "layers problems n"],
    slopes: Sequence[Float[Tensor, "layers problems"]],
) -> Float[Tensor, "layers problems"]:
    """How far along its step each problem's objective is least, from 0 to `_LONGEST`.

    Newton's method on the slope, which rises with the length, in an interval that holds its root.
    `slopes` are that of the penalty at 0, and its growth with the length. Where the data are
    separable and the penalty is small, steps of more than 1 save half of the steps, and now and
    then a step is many times too long.
    """
    bound = (rows * softplus(-margin)).sum(dim=2) * (1 + _ROUNDING)
    least, most = torch.zeros_like(slopes[0]), torch.full_like(slopes[0], _LONGEST)
    length = torch.ones_like(slopes[0])
    for tried in range(_MOST_LENGTHS):
        chance = (-margin - length[:, :, None] * change).sigmoid()
        pull = rows * chance * change
        slope = slopes[0] + length * slopes[1] - pull.sum(dim=2)
        if tried >= _LENGTHS:
            loss = (rows * softplus(-margin - length[:, :, None] * change)).sum(dim=2)
            rise = length * slopes[0] + length.square() * slopes[1] / 2
            if not bool((loss + rise > bound).any()):
                break
        growth = slopes[1] + (pull * (1 - chance) * change).sum(dim=2)
        least, most = torch.where(slope < 0, length, least), torch.where(slope < 0, most, length)
        length = torch.where(growth > 0, length - slope / growth, length)
        length = torch.where((length > least) & (length < most), length, (least + most) / 2)
    return length
