"""A direction in every layer, and how far it can be trusted before anything is steered with it.

Reliability works for any way of finding a direction: `fit` takes activations, polarity and
group of some rows and returns one raw vector a layer. A group (see `folds.py`) stays whole on one
side of every split. Signs and thresholds come from the rows that fit the vector, never from
held-out ones.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from traitsteer.words.errors import LayerFault, TooFewRows, TraitsteerError
from traitsteer.words.shapes import Bool, Float, Int

Fit = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(activations [n layers d], positive [n], groups [n]) -> raw vectors [layers d]."""


@dataclass(frozen=True)
class Direction:
    """One unit vector a layer (float32) and the length that it had before (float64)."""

    vectors: Float[Tensor, "layers d"]
    raw_norm: Float[Tensor, " layers"]

    @staticmethod
    def from_raw(raw: Float[Tensor, "layers d"]) -> "Direction":
        """Normalise each layer; raises LayerFault naming a layer of norm 0 or not finite."""
        norm = raw.double().norm(dim=1)
        for layer in (~((norm > 0) & norm.isfinite())).nonzero().flatten().tolist():
            raise LayerFault(
                f"direction: the vector of layer {{layer}} has norm {float(norm[layer])}; "
                "expected a positive number, so check the activations of that layer",
                layer,
            )
        return Direction((raw.double() / norm[:, None]).float(), norm)


@dataclass(frozen=True)
class HeldOut:
    """How well rows that no vector was fitted to are told apart (float64)."""

    accuracy: Float[Tensor, " layers"]
    """Share of rows on the right side of the midpoint of the training rows' class means."""
    auroc: Float[Tensor, " layers"]
    """Area under the ROC curve, ties counted half: the mean over folds.

    Folds are not pooled, since their scores come from different vectors; a fold that holds one
    polarity only is left out.
    """
    pair_agreement: Float[Tensor, " layers"] | None
    """Share of pairs whose difference vector has a positive inner product with the fold's vector.

    That vector was fitted without them.

    The difference of a pair is the mean of its positive rows minus that of its negative ones. None
    where no pair has both.
    """


def held_out(
    fit: Fit,
    activations: Float[Tensor, "n layers d"],
    positive: Bool[Tensor, " n"],
    groups: Int[Tensor, " n"],
    fold_of: Int[Tensor, " n"],
    pairs: Int[Tensor, " n"],
) -> HeldOut:
    """Cross-validation: each fold is scored along the vectors of all others.

    Pairs of different folds may still share a system prompt.

    Args:
        groups: handed to `fit`, which may divide the rows further.
        fold_of: number of the fold that leaves each row out, the same for a whole group.
        pairs: whose differences are held against the vectors.

    Raises:
        TraitsteerError: no fold holds both polarities.
    """
    correct = torch.zeros(activations.shape[1], dtype=torch.float64)
    areas, along = [], []
    for fold in torch.unique(fold_of):
        left, train = fold_of == fold, fold_of != fold
        raw = fit(activations[train], positive[train], groups[train])
        vectors = Direction.from_raw(raw).vectors
        projected = torch.einsum("nld,ld->nl", activations.float(), vectors).double()
        means = [projected[train & side].mean(dim=0) for side in (positive, ~positive)]
        scores, truth = projected[left] - (means[0] + means[1]) / 2, positive[left]
        correct += ((scores > 0) == truth[:, None]).sum(dim=0).cpu()
        if truth.any() and not truth.all():
            areas.append(_auroc(scores, truth))
        along.append(_pair_differences(scores, truth, pairs[left]) > 0)
    if not areas:
        raise TraitsteerError(
            "held-out AUROC: none of the folds holds both polarities; use fewer folds"
        )
    agreeing = torch.cat(along).double()
    return HeldOut(
        correct / len(positive),
        torch.stack(areas).mean(dim=0),
        agreeing.mean(dim=0).cpu() if len(agreeing) else None,
    )


def split_half_cosine(
    fit: Fit,
    activations: Float[Tensor, "n layers d"],
    positive: Bool[Tensor, " n"],
    groups: Int[Tensor, " n"],
    seed: int,
    splits: int = 10,
) -> Float[Tensor, " layers"]:
    """Cosine of the vectors fitted to two random halves of the groups, mean over `splits` splits.

    A split whose halves cannot be fitted alone is left out. Raises TooFewRows when none is left.
    """
    each = torch.unique(groups)  # sorted, so that the order of rows plays no part
    if len(each) < 2:
        raise TooFewRows(
            f"split-half cosine: found {len(each)} group of pairs that share a prompt; "
            "expected 2 or more"
        )
    generator = torch.Generator().manual_seed(seed)
    cosines = []
    for _ in range(splits):
        order = torch.randperm(len(each), generator=generator).to(groups.device)
        first = torch.isin(groups, each[order[: len(each) // 2]])
        try:
            halves = [
                Direction.from_raw(fit(activations[half], positive[half], groups[half])).vectors
                for half in (first, ~first)
            ]
        except TooFewRows:
            continue
        cosines.append((halves[0].double() * halves[1].double()).sum(dim=1).cpu())
    if not cosines:
        raise TooFewRows(
            f"split-half cosine: none of {splits} halvings of {len(each)} groups can be fitted; "
            "expected both polarities on each side, so give more pairs"
        )
    return torch.stack(cosines).mean(dim=0)


def seed_cosine(
    fit: Fit,
    activations: Float[Tensor, "n layers d"],
    positive: Bool[Tensor, " n"],
    groups: Int[Tensor, " n"],
    samples: Int[Tensor, " n"],
    least: int,
) -> Float[Tensor, " layers"] | None:
    """Mean cosine between vectors fitted to different samples of the same prompts, over all twos.

    Split halves share no pair, samples share them all: this tells what sampling alone does.

    Args:
        samples: number of the sample that each row is.
        least: a sample with fewer rows of either polarity is left out, and so is one whose rows
            alone cannot be fitted.

    Returns:
        None when fewer than two samples are left.
    """
    vectors = []
    for sample in torch.unique(samples):
        rows = samples == sample
        above = int(positive[rows].sum())
        if min(above, int(rows.sum()) - above) >= least:
            try:
                raw = fit(activations[rows], positive[rows], groups[rows])
            except TooFewRows:
                continue
            vectors.append(Direction.from_raw(raw).vectors.double().cpu())
    if len(vectors) < 2:
        return None
    twos = [(one * other).sum(dim=1) for one, other in itertools.combinations(vectors, 2)]
    return torch.stack(twos).mean(dim=0)


def largest_share(
    vectors: Float[Tensor, "layers d"], dimensions: int = 3
) -> Float[Tensor, " layers"]:
    """Share of a vector's squared norm that lies in its few largest dimensions, float64.

    Some models hold a few massive dimensions, of hundreds of times the size of all others. A vector
    that lies in them tells of position or punctuation before it tells of a trait.
    """
    squares = vectors.double().square()
    largest = squares.topk(min(dimensions, squares.shape[1]), dim=1).values.sum(dim=1)
    share: Tensor = largest / squares.sum(dim=1)
    return share


def _pair_differences(
    scores: Float[Tensor, "n layers"], truth: Bool[Tensor, " n"], pairs: Int[Tensor, " n"]
) -> Float[Tensor, "whole layers"]:
    """Mean positive minus mean negative score of every pair that has both sides."""
    differences = [scores[:0]]
    for pair in torch.unique(pairs):
        sides = [scores[(pairs == pair) & side] for side in (truth, ~truth)]
        if all(len(side) for side in sides):
            differences.append((sides[0].mean(dim=0) - sides[1].mean(dim=0))[None])
    return torch.cat(differences)


def _auroc(scores: Tensor, truth: Tensor) -> Tensor:
    """Mann-Whitney U of each column, divided by the number of pairs of rows that it compares."""
    # Takes a second to import, which few of the stages that import this file have to wait.
    from scipy.stats import rankdata

    ranks = torch.from_numpy(rankdata(scores.cpu().numpy(), axis=0))
    above, below = int(truth.sum()), int((~truth).sum())
    return (ranks[truth.cpu()].sum(dim=0) - above * (above + 1) / 2) / (above * below)


def random_directions(count: int, d: int, seed: int) -> Float[Tensor, "{count} {d}"]:
    """Unit vectors drawn evenly from the sphere, float32.

    Row i depends on the seed and i alone, so asking for more leaves the earlier ones as they were.
    """
    draws = [np.random.default_rng([seed, item]).standard_normal(d) for item in range(count)]
    vectors = torch.from_numpy(np.stack(draws) if draws else np.zeros((0, d)))
    return torch.nn.functional.normalize(vectors, dim=1).float()


def cosine(a: Float[Tensor, "*batch d"], b: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
    """Cosine along the last axis, in float64; raises TraitsteerError for a vector of norm 0."""
    first, second = a.double(), b.double()
    norms = first.norm(dim=-1) * second.norm(dim=-1)
    if bool((norms == 0).any()):
        raise TraitsteerError("cosine: found a vector of norm 0; expected a direction on each side")
    inner: Tensor = (first * second).sum(dim=-1)
    return inner.div(norms)
