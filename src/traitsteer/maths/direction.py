"""A direction in every layer, and how far it can be trusted before anything is steered with it.

Reliability works for any way of finding a direction: `fit` takes activations, polarity and pair
of some rows and returns one raw vector a layer. Both sides of a pair stay on the same side of
every split. Signs and thresholds come from the rows that fit the vector, never from held-out ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.model_selection import GroupKFold
from torch import Tensor

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.shapes import Bool, Float, Int

Fit = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(activations [n layers d], positive [n], pairs [n]) -> raw vectors [layers d]."""


@dataclass(frozen=True)
class Direction:
    """One unit vector a layer (float32) and the length that it had before (float64)."""

    vectors: Float[Tensor, "layers d"]
    raw_norm: Float[Tensor, " layers"]

    @staticmethod
    def from_raw(raw: Float[Tensor, "layers d"]) -> "Direction":
        """Normalise each layer; raises TraitsteerError naming a layer of norm 0 or not finite."""
        norm = raw.double().norm(dim=1)
        for layer in (~((norm > 0) & norm.isfinite())).nonzero().flatten().tolist():
            raise TraitsteerError(
                f"direction: the vector of layer {layer} has norm {float(norm[layer])}; "
                "expected a positive number, so check the activations of that layer"
            )
        return Direction((raw.double() / norm[:, None]).float(), norm)


def held_out_accuracy(
    fit: Fit,
    activations: Float[Tensor, "n layers d"],
    positive: Bool[Tensor, " n"],
    pairs: Int[Tensor, " n"],
    folds: int,
    seed: int,
) -> Float[Tensor, " layers"]:
    """Share of held-out rows on the right side, by cross-validation grouped by pair.

    The threshold is the midpoint of the projected class means of the training rows.
    """
    correct = torch.zeros(activations.shape[1], dtype=torch.float64)
    for scores, truth in _held_out_scores(fit, activations, positive, pairs, folds, seed):
        correct += ((scores > 0) == truth[:, None]).sum(dim=0).cpu()
    return correct / len(positive)


def held_out_auroc(
    fit: Fit,
    activations: Float[Tensor, "n layers d"],
    positive: Bool[Tensor, " n"],
    pairs: Int[Tensor, " n"],
    folds: int,
    seed: int,
) -> Float[Tensor, " layers"]:
    """Area under the ROC curve of held-out rows, ties counted half: the mean over folds.

    Folds are not pooled, since their scores come from different vectors. A fold that holds one
    polarity only is left out; raises TraitsteerError when that leaves none.
    """
    areas = [
        _auroc(scores, truth)
        for scores, truth in _held_out_scores(fit, activations, positive, pairs, folds, seed)
        if truth.any() and not truth.all()
    ]
    if not areas:
        raise TraitsteerError(
            f"held-out AUROC: none of {folds} folds holds both polarities; use fewer folds"
        )
    return torch.stack(areas).mean(dim=0)


def split_half_cosine(
    fit: Fit,
    activations: Float[Tensor, "n layers d"],
    positive: Bool[Tensor, " n"],
    pairs: Int[Tensor, " n"],
    seed: int,
    splits: int = 10,
) -> Float[Tensor, " layers"]:
    """Cosine of the vectors fitted to two random halves of the pairs, mean over `splits` splits."""
    groups = torch.unique(pairs)  # sorted, so that the order of rows plays no part
    if len(groups) < 2:
        raise TraitsteerError(f"split-half cosine: found {len(groups)} pair; expected 2 or more")
    generator = torch.Generator().manual_seed(seed)
    cosines = []
    for _ in range(splits):
        order = torch.randperm(len(groups), generator=generator).to(groups.device)
        first = torch.isin(pairs, groups[order[: len(groups) // 2]])
        halves = [
            Direction.from_raw(fit(activations[half], positive[half], pairs[half])).vectors
            for half in (first, ~first)
        ]
        cosines.append((halves[0].double() * halves[1].double()).sum(dim=1).cpu())
    return torch.stack(cosines).mean(dim=0)


def _held_out_scores(
    fit: Fit, activations: Tensor, positive: Tensor, pairs: Tensor, folds: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """For each fold: scores [held-out layers], above 0 on the positive side, and their polarity."""
    found = len(torch.unique(pairs))
    if not 2 <= folds <= found:
        raise TraitsteerError(
            f"cross-validation: {folds} folds of {found} pairs; expected 2 to {found} folds"
        )
    random = np.random.RandomState(np.random.MT19937(seed))
    splitter = GroupKFold(folds, shuffle=True, random_state=random)
    rows = np.arange(len(pairs))
    for split in splitter.split(rows, groups=pairs.cpu().numpy()):
        train, held_out = (torch.from_numpy(part).to(activations.device) for part in split)
        vectors = Direction.from_raw(fit(activations[train], positive[train], pairs[train])).vectors
        projected = torch.einsum("nld,ld->nl", activations.float(), vectors).double()
        shown = positive[train]
        means = [projected[train][side].mean(dim=0) for side in (shown, ~shown)]
        yield projected[held_out] - (means[0] + means[1]) / 2, positive[held_out]


def _auroc(scores: Tensor, truth: Tensor) -> Tensor:
    """Mann-Whitney U of each column, divided by the number of pairs of rows that it compares."""
    ranks = torch.from_numpy(rankdata(scores.cpu().numpy(), axis=0))
    above, below = int(truth.sum()), int((~truth).sum())
    return (ranks[truth.cpu()].sum(dim=0) - above * (above + 1) / 2) / (above * below)
