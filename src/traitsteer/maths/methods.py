"""Ways of finding a direction by their names: activations, polarity and group in, raw vectors out.

What fits the study's vectors also refits them: for reliability on parts of the rows, for a
shuffled-label null on labels that mean nothing.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from traitsteer.maths.folds import fold_numbers
from traitsteer.maths.mean_difference import mean_difference
from traitsteer.words.records import Method
from traitsteer.words.shapes import Bool, Float, Int

if TYPE_CHECKING:
    from traitsteer.maths.probe import ProbeFit

LEAST_GROUPS: Mapping[Method, int] = {"mean_difference": 2, "probe": 4}
"""Fewest groups (see `folds.py`) that a vector can be fitted to and held against itself.

Each half of them is fitted alone, and within its half the probe is cross-validated.
"""


def raw_vectors(
    activations: Float[Tensor, "n layers d"],
    positive: Bool[Tensor, " n"],
    groups: Int[Tensor, " n"],
    method: Method,
    penalties: Sequence[float],
    folds: int,
    seed: int,
) -> "tuple[Tensor, ProbeFit | None]":
    """Fit one method: its raw vectors `[layers, d]`, float64, and what else the probe found.

    Args:
        penalties: what the probe chooses from by cross-validation; the mean difference has none.
        folds: of that cross-validation, which `fold_numbers` makes.
        seed: which groups share a fold depends on it.

    Raises:
        TraitsteerError: a polarity has no rows, a layer tells the polarities apart nowhere, or
            there are fewer than two groups.
    """
    if method == "mean_difference":
        return mean_difference(activations, positive), None
    # Lightning takes seconds to import, and an arm without probes does without it.
    from traitsteer.maths.probe import fit_probe

    probe = fit_probe(activations, positive, fold_numbers(positive, groups, folds, seed), penalties)
    return probe.weights, probe
