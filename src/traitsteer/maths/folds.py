"""Folds of a cross-validation: pairs of one group lie in one fold.

A group is what pairs have in common: under every pair of system prompts the same question is
asked, and a vector fitted to it would be held out on what it has seen. Pairs that share a prompt
lie in one group, and so do pairs that others join in this way: two of a group may share none
themselves. A pair that shares its prompts with no other is a group of its own.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from traitsteer.words.errors import TooFewRows
from traitsteer.words.shapes import Bool, Int


def groups_of(prompts: Iterable[tuple[int, str]]) -> dict[int, int]:
    """The group of each pair, given which pair has which prompt: the least pair number in it.

    A prompt is the scenario or the question alone: under other system prompts it is the same one.
    """
    groups: dict[int, int] = {}
    seen: dict[str, int] = {}
    for pair, prompt in prompts:
        own, other = groups.setdefault(pair, pair), groups[seen.setdefault(prompt, pair)]
        if own != other:
            least, joined = min(own, other), max(own, other)
            groups |= {each: least for each, group in groups.items() if group == joined}
    return groups


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
    if folds < 2:
        raise TooFewRows(
            f"cross-validation: {folds} fold; expected 2 or more, so ask for more folds"
        )
    if found < 2:
        raise TooFewRows(
            "cross-validation: all pairs share a prompt, directly or through others; expected 2 "
            "groups of pairs or more, so give pairs of other prompts"
        )
    # Takes a second to import, which few of the stages that import this file have to wait.
    from sklearn.model_selection import GroupKFold

    folds = min(folds, found)
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
