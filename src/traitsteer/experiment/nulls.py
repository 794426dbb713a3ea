"""Null vectors: what a vector is held against, at the same layer and of the same norm.

random      drawn evenly from the sphere: does any push of this length do it?
shuffled    fitted as the vector was, on the same activations, with the labels of half of the pairs
            exchanged: does any direction in which responses differ do it?
orthogonal  random, with what points along the vector taken out: is it this direction?
negated     the vector times -1: does it lower the trait?

The fifth null, the vector of another trait, needs all traits, and is measured by `cross`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from traitsteer.experiment.fitting import fit_seed, provenance_of
from traitsteer.maths.direction import Direction, random_directions
from traitsteer.maths.methods import raw_vectors
from traitsteer.words import layout
from traitsteer.words.config import Config, FitConfig
from traitsteer.words.errors import LayerFault, TraitsteerError
from traitsteer.words.records import Method
from traitsteer.words.results import NULL_KINDS
from traitsteer.words.seeds import small_seed_for
from traitsteer.world import tensors


@dataclass(frozen=True)
class FittedOn:
    """What a vector was fitted on, at its layer alone, and how."""

    activations: Tensor
    """[n, 1, width], float32."""
    positive: Tensor
    """[n], bool."""
    pairs: Tensor
    """[n], int64."""
    groups: Tensor
    """[n], int64."""
    method: Method
    fit: FitConfig
    seed: int
    layer: int


def read_fitted(config: Config, trait: str, arm: str, method: Method, layer: int) -> FittedOn:
    """Read what the vector of this layer was fitted on.

    Raises:
        TraitsteerError: the activations are corrupt or incomplete, were cached for another trait,
            arm, text, source model or position, or the vector was fitted on other responses.
    """
    expected = provenance_of(config, trait, arm)
    whole = tensors.read_shards(layout.activations(trait, arm), expected)
    made_from = {name: whole.provenance[name] for name in ("responses", "source_digest")}
    vector = layout.fitted_vectors(trait, arm, method)
    tensors.read(vector, expected | made_from | {"method": method})
    found = whole.tensors
    return FittedOn(
        found["activations"][:, layer : layer + 1].clone(),
        found["positive"].bool(),
        found["pair"],
        found["group"],
        method,
        config.fit,
        fit_seed(config, trait, arm),
        layer,
    )


def shuffled_directions(fitted: FittedOn, count: int, seed: int) -> Tensor:
    """Unit vectors [count, width] refitted on shuffled labels, penalty choice included.

    Labels are exchanged within whole pairs, in half of them: what the pairs have in common then
    points as often one way as the other, where labels dealt out row by row would leave a part of
    the trait in most vectors. Row i depends on the seed and i alone.

    Raises:
        TraitsteerError: the vector of a null cannot be fitted.
    """
    pairs = fitted.pairs.unique()
    vectors = []
    for item in range(count):
        drawn = np.random.default_rng([seed, item]).permutation(len(pairs))
        exchanged = pairs[torch.from_numpy(drawn[: len(pairs) // 2])]
        try:
            vectors.append(_refitted(fitted, torch.isin(fitted.pairs, exchanged)))
        except TraitsteerError as error:
            # The refit has one layer alone, which it numbers 0.
            fault = error.at(fitted.layer) if isinstance(error, LayerFault) else error
            raise TraitsteerError(
                f"null shuffled-{item} at layer {fitted.layer}, the vector fitted again with the "
                f"labels of half of the pairs exchanged: {fault}"
            ) from error
    return torch.stack(vectors)


def _refitted(fitted: FittedOn, exchanged: Tensor) -> Tensor:
    """The unit vector [width] with the labels of these rows [n] exchanged."""
    raw, _ = raw_vectors(
        fitted.activations,
        fitted.positive ^ exchanged,
        fitted.groups,
        fitted.method,
        fitted.fit.penalties,
        fitted.fit.folds,
        fitted.seed,
    )
    return Direction.from_raw(raw).vectors[0]


def orthogonal_directions(vector: Tensor, count: int, seed: int) -> Tensor:
    """Random unit vectors [count, width] at right angles to the vector [width]."""
    along = torch.nn.functional.normalize(vector.double(), dim=0)
    drawn = random_directions(count, len(vector), seed).double()
    rest = drawn - (drawn @ along)[:, None] * along
    return torch.nn.functional.normalize(rest, dim=1).float()


def null_vectors(
    config: Config, vector: Tensor, fitted: FittedOn, of: Sequence[str]
) -> dict[str, Tensor]:
    """The null vectors [width] of every kind, by the names of their settings.

    `of` names the vector that they stand beside (trait, arm, method); their seeds depend on it.
    """
    counts = config.evaluate.nulls
    seeds = {kind: small_seed_for(config.seed, kind, *of) for kind in NULL_KINDS}
    drawn = {
        "random": random_directions(counts.random, len(vector), seeds["random"]),
        "shuffled": shuffled_directions(fitted, counts.shuffled, seeds["shuffled"]),
        "orthogonal": orthogonal_directions(vector, counts.orthogonal, seeds["orthogonal"]),
    }
    named = {f"{kind}-{n}": one for kind, some in drawn.items() for n, one in enumerate(some)}
    return named | {"negated": -vector}
