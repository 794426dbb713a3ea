"""Folds of a cross-validation: both sides of a pair lie in one fold."""

import numpy as np
import torch
from sklearn.model_selection import GroupKFold
from torch import Tensor

from traitsteer.words.errors import TooFewRows
from traitsteer.words.shapes import Bool, Int


def fold_numbers(
    positive: Bool[Tensor, " n"], pairs: Int[Tensor, " n"], folds: int, seed: int
) -> Int[Tensor, " n"]:
    """Number of the fold that leaves each row out, 0 to `folds - 1`, on the device of `pairs`.

    It depends on the pairs and the seed and not on the order of the rows.

    Raises TooFewRows when there are fewer pairs than folds, or when the rows that a fold
    leaves to fit on hold one polarity only.
    """
    found = len(torch.unique(pairs))
    if not 2 <= folds <= found:
        raise TooFewRows(
            f"cross-validation: {folds} folds of {found} pairs; expected 2 to {found} folds"
        )
    random = np.random.RandomState(np.random.MT19937(seed))
    splitter = GroupKFold(folds, shuffle=True, random_state=random)
    fold_of = torch.zeros(len(pairs), dtype=torch.int64)
    splits = splitter.split(np.arange(len(pairs)), groups=pairs.cpu().numpy())
    for fold, (train, held_out) in enumerate(splits):
        fold_of[torch.from_numpy(held_out)] = fold
        shown = positive.cpu()[torch.from_numpy(train)]
        if shown.all() or not shown.any():
            raise TooFewRows(
                f"cross-validation: the training rows of fold {fold} hold one polarity only; "
                "expected both, so give more pairs or use other folds"
            )
    return fold_of.to(pairs.device)
