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
