"""Every way of finding a direction by its name: activations, polarity and pair in, raw vectors out.

What fits the study's vectors also refits them: for reliability on parts of the rows, for a
shuffled-label null on labels that mean nothing.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from traitsteer.maths.folds import fold_numbers
from traitsteer.maths.mean_difference import mean_difference
from traitsteer.words.records import Method
from traitsteer.words.shapes import Bool, Float, Int

if TYPE_CHECKING:
    from traitsteer.maths.probe import ProbeFit


def raw_vectors(
    activations: Float[Tensor, "n layers d"],
    positive: Bool[Tensor, " n"],
    pairs: Int[Tensor, " n"],
    method: Method,
    penalties: Sequence[float],
    folds: int,
    seed: int,
) -> "tuple[Tensor, ProbeFit | None]":
    """Fit one method: its raw vectors `[layers, d]`, float64, and what else the probe found.

    Args:
        penalties: what the probe chooses from by cross-validation; the mean difference has none.
        folds: of that cross-validation, grouped by pair; where there are fewer pairs, as when those
            of an outer one are left out, each pair is a fold.
        seed: which pairs share a fold depends on it.

    Raises:
        TraitsteerError: a polarity has no rows, a layer tells the polarities apart nowhere, or
            there are fewer than two pairs.
    """
    if method == "mean_difference":
        return mean_difference(activations, positive), None
    # Lightning takes seconds to import, and an arm without probes does without it.
    from traitsteer.maths.probe import fit_probe

    folds = min(folds, len(pairs.unique()))
    probe = fit_probe(activations, positive, fold_numbers(positive, pairs, folds, seed), penalties)
    return probe.weights, probe
