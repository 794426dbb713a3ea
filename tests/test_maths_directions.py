"""Mean difference and reliability: a planted direction comes back, chance finds nothing."""

import pytest
import torch
from planted_rows import planted
from sklearn.metrics import roc_auc_score
from torch import Tensor

from traitsteer.maths.direction import (
    Direction,
    HeldOut,
    _auroc,
    held_out,
    largest_share,
    seed_cosine,
    split_half_cosine,
)
from traitsteer.maths.folds import fold_numbers, groups_of
from traitsteer.maths.mean_difference import mean_difference
from traitsteer.maths.probe import fit_probe
from traitsteer.words.errors import TooFewRows, TraitsteerError


def by_mean(activations: Tensor, positive: Tensor, groups: Tensor) -> Tensor:
    return mean_difference(activations, positive)


def by_probe(activations: Tensor, positive: Tensor, groups: Tensor) -> Tensor:
    fold_of = fold_numbers(positive, groups, 4, seed=0)
    return fit_probe(activations, positive, fold_of, [0.1, 10.0, 1000.0]).weights


def by_folds(fit, rows: Tensor, positive: Tensor, pairs: Tensor, folds: int, seed: int) -> HeldOut:
    fold_of = fold_numbers(positive, pairs, folds, seed)
    return held_out(fit, rows, positive, pairs, fold_of, pairs)


METHODS = pytest.mark.parametrize("fit", [by_mean, by_probe])


def test_mean_difference_equals_the_formula() -> None:
    rows, positive, _, _ = planted(20, 16, 1.0)
    keep = torch.arange(40) != 3  # unequal classes
    rows, positive = rows[keep], positive[keep]
    expected = rows[positive].double().mean(dim=0) - rows[~positive].double().mean(dim=0)
    torch.testing.assert_close(mean_difference(rows, positive), expected)


def test_mean_difference_accumulates_in_float64() -> None:
    rows = torch.full((4000, 1, 2), 1e4)
    positive = torch.arange(4000) % 2 == 0
    rows[positive, 0, 0] += 2**-9
    difference = mean_difference(rows, positive)
    assert difference[0, 0].item() == pytest.approx(2**-9, rel=1e-6)


@METHODS
def test_a_planted_direction_comes_back(fit) -> None:
    rows, positive, pairs, direction = planted(3000, 24, 1.5)
    found = Direction.from_raw(fit(rows, positive, pairs))
    assert ((found.vectors * direction).sum(dim=1) > 0.99).all()
    assert found.vectors.dtype == torch.float32
    torch.testing.assert_close(found.vectors.norm(dim=1), torch.ones(3))
    held = by_folds(fit, rows, positive, pairs, 5, 0)
    assert (held.accuracy > 0.9).all()
    assert (held.auroc > 0.97).all()
    assert (split_half_cosine(fit, rows, positive, pairs, 0, splits=3) > 0.97).all()


@METHODS
def test_halves_that_lack_a_polarity_are_left_out(fit) -> None:
    """Positives of three pairs alone: a half of the pairs may hold none of them."""
    rows, positive, pairs, _ = planted(40, 16, 3.0)
    kept = ~positive | (pairs < 3)
    few = rows[kept], positive[kept], pairs[kept]
    tried = []

    def counted(*parts: Tensor) -> Tensor:
        tried.append(bool(parts[1].any()))
        return mean_difference(*parts[:2])

    found = split_half_cosine(counted, *few, seed=0, splits=20)
    assert not all(tried) and found.isfinite().all()
    with pytest.raises(TooFewRows, match="expected rows of both polarities"):
        mean_difference(rows, torch.zeros(80, dtype=torch.bool))
    with pytest.raises(TooFewRows, match="none of 3 halvings"):
        alone = ~positive | (pairs < 1)
        split_half_cosine(fit, rows[alone], positive[alone], pairs[alone], seed=0, splits=3)


@METHODS
def test_nothing_is_found_in_shuffled_labels(fit) -> None:
    rows, positive, pairs, _ = planted(300, 48, 3.0)
    flip = torch.rand(300, generator=torch.Generator().manual_seed(1)) < 0.5
    shuffled = positive ^ flip[pairs]
    found = Direction.from_raw(fit(rows, shuffled, pairs))
    # Along the planted axis the rows vary most, so chance correlation is largest there.
    held = by_folds(fit, rows, shuffled, pairs, 5, 0)
    assert (held.accuracy - 0.5).abs().max() < 0.08
    assert (held.auroc - 0.5).abs().max() < 0.08
    assert (by_folds(fit, rows, positive, pairs, 5, 0).accuracy > 0.98).all()
    assert found.vectors.isfinite().all()


@METHODS
def test_noise_points_nowhere(fit) -> None:
    rows, positive, pairs, direction = planted(100, 256, 0.0)
    found = Direction.from_raw(fit(rows, positive, pairs))
    assert (found.vectors * direction).sum(dim=1).abs().max() < 0.25
    assert split_half_cosine(fit, rows, positive, pairs, 0, splits=3).abs().max() < 0.2


@METHODS
def test_neither_row_order_nor_layer_scale_matter(fit) -> None:
    rows, positive, pairs, _ = planted(40, 24, 0.5)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(2))
    first = Direction.from_raw(fit(rows, positive, pairs))
    again = Direction.from_raw(fit(rows[order], positive[order], pairs[order]))
    torch.testing.assert_close(first.vectors, again.vectors, atol=1e-4, rtol=0)
    scaled = Direction.from_raw(fit(rows * 64, positive, pairs))
    torch.testing.assert_close(first.vectors, scaled.vectors, atol=1e-4, rtol=0)
    one = by_folds(fit, rows, positive, pairs, 5, 0)
    two = by_folds(fit, rows[order], positive[order], pairs[order], 5, 0)
    torch.testing.assert_close(one.accuracy, two.accuracy)
    torch.testing.assert_close(one.auroc, two.auroc)


def test_held_out_rows_and_their_partners_are_never_fitted() -> None:
    rows, positive, pairs, _ = planted(20, 8, 1.0)
    seen: list[set[int]] = []

    def recording(activations: Tensor, shown: Tensor, groups: Tensor) -> Tensor:
        assert (torch.bincount(groups, minlength=20) != 1).all()
        seen.append(set(groups.tolist()))
        return mean_difference(activations, shown)

    by_folds(recording, rows, positive, pairs, 5, seed=3)
    assert [len(groups) for groups in seen] == [16] * 5
    left_out = [set(range(20)) - groups for groups in seen]
    assert sorted(pair for fold in left_out for pair in fold) == list(range(20))
    seen.clear()
    split_half_cosine(recording, rows, positive, pairs, seed=3, splits=2)
    assert all(not (a & b) and len(a | b) == 20 for a, b in zip(seen[::2], seen[1::2], strict=True))


def test_pairs_that_others_join_are_one_group() -> None:
    """Else a vector could be held out on a prompt that it was fitted to."""
    chained = [(0, "A"), (0, "B"), (1, "C"), (1, "D"), (2, "A"), (2, "C"), (3, "E"), (3, "E")]
    for order in (chained, chained[::-1], sorted(chained, key=lambda row: row[1])):
        assert groups_of(order) == {0: 0, 1: 0, 2: 0, 3: 3}
    apart = [(7, "A"), (7, "B"), (4, "B"), (4, "A"), (5, "C"), (6, "C"), (8, "D")]
    assert groups_of(apart) == {7: 4, 4: 4, 5: 5, 6: 5, 8: 8}


def test_what_is_true_of_single_questions_alone_is_not_found_on_others() -> None:
    questions, prompts, width = 40, 5, 800
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(questions * prompts).repeat_interleave(2) // prompts
    pairs = torch.arange(questions * prompts).repeat_interleave(2)
    positive = torch.arange(len(pairs)) % 2 == 0
    # What tells the sides apart is another direction for every question.
    own = torch.randn(questions, width, generator=generator)
    rows = 2 * torch.randn(len(pairs), width, generator=generator)
    rows = (rows + torch.where(positive, 1.0, -1.0)[:, None] * own[groups])[:, None]
    apart, shared = (
        held_out(
            by_mean, rows, positive, groups, fold_numbers(positive, by, questions, seed=0), pairs
        )
        for by in (pairs, groups)
    )
    assert float(apart.auroc) > 0.9 and float(shared.auroc) < 0.65
    assert float(apart.pair_agreement) > 0.9 and float(shared.pair_agreement) < 0.65
    assert float(split_half_cosine(by_mean, rows, positive, pairs, 0)) > 0.3
    assert abs(float(split_half_cosine(by_mean, rows, positive, groups, 0))) < 0.1


@METHODS
def test_pairs_agree_with_a_vector_that_they_took_no_part_in(fit) -> None:
    rows, positive, pairs, _ = planted(60, 16, 1.0)
    whole = torch.ones(120, dtype=torch.bool)
    whole[[0, 2, 3, 7]] = False  # pair 0 lacks its positive, pair 1 both, pair 3 its negative
    rows, positive, pairs = rows[whole], positive[whole], pairs[whole]
    fold_of = fold_numbers(positive, pairs, 5, 0)
    fitted = []
    for fold in range(5):
        kept = fold_of != fold
        fitted.append(fit(rows[kept], positive[kept], pairs[kept]).double())
    agreeing = []
    for pair in set(range(60)) - {0, 1, 3}:
        both = pairs == pair
        difference = rows[both & positive][0] - rows[both & ~positive][0]
        agreeing.append((fitted[fold_of[both][0]] * difference.double()).sum(dim=1) > 0)
    expected = torch.stack(agreeing).double().mean(dim=0)
    found = held_out(fit, rows, positive, pairs, fold_of, pairs).pair_agreement
    torch.testing.assert_close(found, expected)
    assert (found > 0.7).all() and (found < 1).any()


def test_pairs_of_noise_agree_half_of_the_time_and_lone_sides_are_no_pairs() -> None:
    rows, positive, pairs, _ = planted(400, 64, 0.0)
    found = by_folds(by_mean, rows, positive, pairs, 5, 0).pair_agreement
    assert (found - 0.5).abs().max() < 3 * 0.5 / 20
    assert by_folds(by_mean, rows, positive, torch.arange(800), 5, 0).pair_agreement is None


@METHODS
def test_vectors_of_different_samples_agree_on_what_is_planted(fit) -> None:
    rows, positive, pairs, _ = planted(180, 24, 1.0)
    samples, pairs = pairs % 3, pairs // 3
    found = seed_cosine(fit, rows, positive, pairs, samples, least=5)
    parts = []
    for sample in range(3):
        chosen = samples == sample
        raw = fit(rows[chosen], positive[chosen], pairs[chosen]).double()
        parts.append(raw / raw.norm(dim=1, keepdim=True))
    expected = sum((parts[a] * parts[b]).sum(dim=1) for a, b in ((0, 1), (0, 2), (1, 2))) / 3
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert (found > 0.5).all()
    noise = planted(180, 256, 0.0)[0]
    assert seed_cosine(fit, noise, positive, pairs, samples, least=5).abs().max() < 0.2
    # Sample 1 has 3 positive rows and sample 2 none: one sample is no two.
    few = (samples == 0) | ~positive | ((samples == 1) & (pairs < 3))
    kept = (rows[few], positive[few], pairs[few], samples[few])
    assert seed_cosine(fit, *kept, least=5) is None
    assert seed_cosine(fit, rows, positive, pairs, torch.zeros_like(pairs), least=5) is None


def test_the_largest_share_tells_massive_dimensions_from_none() -> None:
    vectors = torch.randn(2, 400, generator=torch.Generator().manual_seed(0))
    vectors[1, [3, 70]] = 200.0
    found = largest_share(Direction.from_raw(vectors).vectors)
    expected = [sum(sorted((row**2).tolist())[-3:]) / float((row**2).sum()) for row in vectors]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    assert found[0] < 0.2 and found[1] > 0.99
    assert largest_share(torch.ones(1, 2)).tolist() == [1.0]


def test_auroc_equals_scikit_learn_with_ties() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 6, (40, 2), generator=generator).double()
    truth = torch.rand(40, generator=generator) < 0.4
    expected = [roc_auc_score(truth.numpy(), scores[:, layer].numpy()) for layer in range(2)]
    assert _auroc(scores, truth).tolist() == pytest.approx(expected)


def test_a_seed_of_any_size_gives_the_same_numbers_again() -> None:
    rows, positive, pairs, _ = planted(20, 8, 0.3)
    seed = 2**62 + 17
    one, two = (by_folds(by_mean, rows, positive, pairs, 5, seed).accuracy for _ in range(2))
    assert torch.equal(one, two)
    one, two = (split_half_cosine(by_mean, rows, positive, pairs, seed) for _ in range(2))
    assert torch.equal(one, two)


def test_impossible_input_is_one_sentence() -> None:
    rows, positive, pairs, _ = planted(4, 8, 1.0)
    with pytest.raises(TraitsteerError, match="8 positive rows of 8"):
        mean_difference(rows, torch.ones(8, dtype=torch.bool))
    flat = rows.clone()
    flat[:, 1] = 0.1
    with pytest.raises(TraitsteerError, match="layer 1 has the same mean"):
        mean_difference(flat, positive)
    with pytest.raises(TraitsteerError, match="layer 2 has norm 0"):
        Direction.from_raw(torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]))
    with pytest.raises(TraitsteerError, match="layer 0 has norm nan"):
        Direction.from_raw(torch.tensor([[float("nan"), 0.0]]))
    with pytest.raises(TraitsteerError, match=r"all pairs share a prompt, .* give pairs of other"):
        fold_numbers(positive[:2], pairs[:2], 5, seed=0)
    with pytest.raises(TraitsteerError, match="1 fold; expected 2 or more, so ask for more"):
        fold_numbers(positive, pairs, 1, seed=0)
    with pytest.raises(TraitsteerError, match="fold 0 hold one polarity only"):
        fold_numbers(torch.ones_like(positive), pairs, 2, seed=0)
    with pytest.raises(TraitsteerError, match="found 1 group"):
        split_half_cosine(by_mean, rows[:2], positive[:2], pairs[:2], 0)


def test_what_cannot_be_fitted_alone_is_left_out_and_nothing_left_is_said() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(60, 2, 5, generator=generator)
    positive = torch.arange(60) % 2 == 0
    rows[positive] += 1.0
    pairs, samples = torch.arange(60) // 2, torch.arange(60) % 6 // 2

    def fit(activations, positive, pairs):
        if (samples_of(pairs) == 2).all() and len(pairs) == 20:
            raise TooFewRows("too few")
        return mean_difference(activations, positive)

    def samples_of(found):
        return samples[found * 2]

    whole = seed_cosine(lambda a, p, _: mean_difference(a, p), rows, positive, pairs, samples, 2)
    some = seed_cosine(fit, rows, positive, pairs, samples, 2)
    kept = [mean_difference(rows[samples == s], positive[samples == s]) for s in (0, 1)]
    assert torch.allclose(some, torch.cosine_similarity(*kept, dim=1).double(), atol=1e-6)
    assert not torch.allclose(some, whole)

    def never(*_):
        raise TooFewRows("too few")

    assert seed_cosine(never, rows, positive, pairs, samples, 2) is None
    with pytest.raises(TooFewRows, match="none of 10 halvings of 30 groups can be fitted"):
        split_half_cosine(never, rows, positive, pairs, seed=0)
