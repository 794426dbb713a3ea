"""Folds of a cross-validation: pairs of one group lie in one fold.

A group is what pairs have in common: under every pair of system prompts the same question is asked,
and a vector fitted to it would be held out on what it has seen. A pair that shares its prompts with
no other is a group of its own.
"""

import numpy as np
import torch
from sklearn.model_selection import GroupKFold
from torch import Tensor

from traitsteer.words.errors import TooFewRows
from traitsteer.words.shapes import Bool, Int


def fold_numbers(
    positive: Bool[Tensor, " n"], groups: Int[Tensor, " n"], folds: int, seed: int
) -> Int[Tensor, " n"]:
    """Number of the fold that leaves each row out, 0 to `folds - 1`, on the device of `groups`.

    It depends on the groups and the seed and not on the order of the rows. Where there are fewer
    groups than folds, as when those of an outer fold are left out, each is a fold.

    Raises TooFewRows when that leaves fewer than two folds, or when the rows that a fold leaves to
    fit on hold one polarity only.
    """
    found = len(torch.unique(groups))
    folds = min(folds, found)
    if folds < 2:
        raise TooFewRows(
            f"cross-validation: {folds} fold of {found} groups of pairs that share a prompt; "
            "expected 2 folds or more, so give more pairs or ask for more folds"
        )
    random = np.random.RandomState(np.random.MT19937(seed))
    splitter = GroupKFold(folds, shuffle=True, random_state=random)
    fold_of = torch.zeros(len(groups), dtype=torch.int64)
    splits = splitter.split(np.arange(len(groups)), groups=groups.cpu().numpy())
    for fold, (train, held_out) in enumerate(splits):
        fold_of[torch.from_numpy(held_out)] = fold
        shown = positive.cpu()[torch.from_numpy(train)]
        if shown.all() or not shown.any():
            raise TooFewRows(
                f"cross-validation: the training rows of fold {fold} hold one polarity only; "
                "expected both, so give more pairs or use other folds"
            )
    return fold_of.to(groups.device)
