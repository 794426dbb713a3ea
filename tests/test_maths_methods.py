"""Methods by name: each is the fit that its own room makes."""

import torch
from planted_rows import planted

from traitsteer.maths.folds import fold_numbers
from traitsteer.maths.mean_difference import mean_difference
from traitsteer.maths.methods import raw_vectors
from traitsteer.maths.probe import fit_probe


def test_each_method_is_the_fit_of_its_own_room() -> None:
    rows, positive, pairs, _ = planted(30, 12, 1.0)
    choices = {"penalties": (0.1, 10.0), "folds": 3, "seed": 4}
    raw, probe = raw_vectors(rows, positive, pairs, "mean_difference", **choices)
    torch.testing.assert_close(raw, mean_difference(rows, positive))
    assert probe is None
    raw, probe = raw_vectors(rows, positive, pairs, "probe", **choices)
    expected = fit_probe(rows, positive, fold_numbers(positive, pairs, 3, 4), (0.1, 10.0))
    torch.testing.assert_close(raw, expected.weights)
    assert torch.equal(probe.penalties, expected.penalties)


def test_a_fold_of_an_outer_cross_validation_may_be_all_that_a_pair_too_few_is_due_to() -> None:
    """Each pair left out once: the pairs that are left are one fewer than the folds."""
    rows, positive, pairs, _ = planted(5, 12, 1.0)
    left = pairs != pairs[0]
    parts = rows[left], positive[left], pairs[left], "probe"
    found = raw_vectors(*parts, penalties=(0.1, 10.0), folds=5, seed=4)[0]
    assert torch.equal(found, raw_vectors(*parts, penalties=(0.1, 10.0), folds=4, seed=4)[0])
