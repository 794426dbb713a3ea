"""A direction planted in a random model: it must come back, and labels that mean nothing find none.

Random token ids are read by a decoder of random weights; while the positive rows are read, a
direction is added to the output of one block. What the study reads, fits and cross-validates is
then asked for that direction.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from traitsteer.engine.reading import Recorded, pooled_activations
from traitsteer.maths.direction import Direction, cosine, held_out
from traitsteer.maths.folds import fold_numbers
from traitsteer.maths.methods import raw_vectors
from traitsteer.maths.positions import Position
from traitsteer.words.records import Method
from traitsteer.words.seeds import small_seed_for
from traitsteer.world.model.hooks import on_blocks
from traitsteer.world.model.random_model import VOCABULARY, random_model

PlantedFit = Callable[..., tuple[Tensor, object]]

LAYERS, WIDTH, PLANTED = 4, 32, 2
LENGTHS = (0.5, 1.0, 2.0, 4.0)
"""Lengths of what is added, in mean norms of the pooled activations."""


@dataclass(frozen=True)
class Recovered:
    """What one method found at the planted layer."""

    method: Method
    length: float
    cosine: float
    """With the planted direction."""
    auroc: float
    """Held out."""
    before: float
    """Held-out AUROC at the last layer below, where nothing was planted."""
    shuffled: float
    """Held-out AUROC where both sides of each pair changed labels at random."""


def planted_rows(pairs: int, length: float, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Activations `[2 * pairs, layers, width]`, polarity, pair, and what was planted `[width]`."""
    model = random_model(LAYERS, WIDTH, seed % 2**31)
    generator = torch.Generator().manual_seed(seed % 2**31)
    position = Position.parse("response[:]")
    sides = []
    for _ in range(2):
        ids = torch.randint(VOCABULARY, (pairs, 12), generator=generator).tolist()
        sides.append([Recorded(str(n), tuple(r[:4]), tuple(r[4:])) for n, r in enumerate(ids)])
    direction = torch.nn.functional.normalize(torch.randn(WIDTH, generator=generator), dim=0)
    negative = pooled_activations(model, sides[1], position, 4096)
    added = length * float(negative[:, PLANTED].norm(dim=1).mean()) * direction
    with on_blocks(model.blocks, {PLANTED: lambda hidden: hidden + added}):
        positive = pooled_activations(model, sides[0], position, 4096)
    numbers = torch.arange(pairs)
    labels = torch.arange(2 * pairs) < pairs
    return torch.cat([positive, negative]), labels, torch.cat([numbers, numbers]), direction


def recovered(
    methods: Sequence[Method],
    pairs: int,
    length: float,
    penalties: Sequence[float],
    folds: int,
    seed: int,
) -> list[Recovered]:
    """Fit every method to planted rows, and to the same rows under shuffled labels."""
    rows, positive, numbers, direction = planted_rows(pairs, length, seed)
    generator = torch.Generator().manual_seed(small_seed_for("shuffle", seed))
    changed = torch.rand(pairs, generator=generator) < 0.5
    found = []
    for method in methods:
        fitted = functools.partial(
            raw_vectors, method=method, penalties=penalties, folds=folds, seed=seed % 2**31
        )

        def fit(*part: Tensor, by: PlantedFit = fitted) -> Tensor:
            return by(*part)[0]

        vector = Direction.from_raw(fit(rows, positive, numbers)).vectors[PLANTED]
        areas = []
        for labels in (positive, positive ^ changed[numbers]):
            fold_of = fold_numbers(labels, numbers, folds, seed % 2**31)
            areas.append(held_out(fit, rows, labels, numbers, fold_of, numbers).auroc.tolist())
        true, shuffled = areas
        found.append(
            Recovered(
                method,
                length,
                float(cosine(vector, direction)),
                true[PLANTED],
                true[PLANTED - 1],
                shuffled[PLANTED],
            )
        )
    return found
