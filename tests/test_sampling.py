"""Choosing tokens, against loops over single rows: largest, sampled, and sampled in a nucleus."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from traitsteer.engine.rows import Sampling
from traitsteer.engine.sampling import choose, uniform
from traitsteer.words.errors import TraitsteerError

VOCABULARIES = (5, 64, 130, 3000)
"""Less than a group of neighbours, one, some and a rest, and enough for a search among the few."""


def made(vocabulary: int, spread: float, dtype: torch.dtype, rows: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(vocabulary)
    return (spread * torch.randn(rows, vocabulary, generator=generator)).to(dtype)


def by_loops(logits: Tensor, seeds: Tensor, sampling: Sampling) -> list[int]:
    """The first token, in the order of the vocabulary, at which the sum of chances passes."""
    draws = uniform(seeds, torch.zeros_like(seeds)).tolist()
    chosen = []
    for row, draw in zip(
        (logits.float() / sampling.temperature).softmax(dim=-1), draws, strict=True
    ):
        chances = row.tolist()
        ranked = sorted(range(len(chances)), key=lambda token: (-chances[token], token))
        inside, reached = set(), 0.0
        for token in ranked:
            if reached >= sampling.top_p:
                break
            inside.add(token)
            reached += chances[token]
        wanted = draw * math.fsum(chances[token] for token in inside)
        running = 0.0
        for token in sorted(inside):
            running += chances[token]
            if running > wanted:
                break
        chosen.append(token)
    return chosen


# The last: a nucleus of some hundreds, found in the second search among the likeliest.
@pytest.mark.parametrize(
    ("vocabulary", "spread"), [*itertools.product(VOCABULARIES, (0.1, 6.0)), (9000, 3.0)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_samples_are_those_of_a_loop(vocabulary: int, spread: float, dtype: torch.dtype) -> None:
    logits, seeds = made(vocabulary, spread, dtype), torch.arange(40)
    for sampling in (Sampling(1, 1.0), Sampling(1, 0.7, 0.9), Sampling(1, 1.0, 0.5)):
        found = choose(logits, seeds, torch.zeros_like(seeds), sampling)
        assert found.tolist() == by_loops(logits, seeds, sampling)
        assert len(set(found.tolist())) > 3


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_the_largest_is_the_first_of_the_largest(vocabulary: int) -> None:
    # So few different numbers that most rows have several largest ones.
    logits = made(vocabulary, 1.0, torch.float32).round()
    seeds = torch.zeros(40, dtype=torch.long)
    found = choose(logits, seeds, seeds, Sampling(1, 0.0))
    assert found.tolist() == [row.index(max(row)) for row in logits.tolist()]
    logits[7, vocabulary - 1] = torch.nan
    assert choose(logits, seeds, seeds, Sampling(1, 0.0))[7] == vocabulary - 1


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_row_is_chosen_for_alone_as_among_others(top_p: float) -> None:
    """Rows whose nucleus is found among the few stand beside others that need a whole sort."""
    logits = torch.cat([made(3000, 6.0, torch.float32), made(3000, 0.1, torch.float32)])
    seeds, sampling = torch.arange(80), Sampling(1, 1.0, top_p)
    together = choose(logits, seeds, torch.zeros_like(seeds), sampling)
    for row in range(0, 80, 7):
        one = slice(row, row + 1)
        assert choose(logits[one], seeds[one], torch.zeros(1).long(), sampling) == together[row]


@pytest.mark.parametrize("temperature", [-1.0, math.nan, math.inf])
def test_a_temperature_that_is_none_is_refused(temperature: float) -> None:
    with pytest.raises(TraitsteerError, match="expected 1 or more, 0 or more"):
        Sampling(4, temperature)


def test_samples_follow_the_distribution_and_the_seed() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(20_000, 4)
    seeds = torch.arange(20_000)
    zeros = torch.zeros_like(seeds)
    counts = (
        choose(logits, seeds, torch.zeros_like(seeds), Sampling(1, 1.0)).bincount(minlength=4)
        / 20_000
    )
    assert torch.allclose(counts, torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.02)
    nucleus = (
        choose(logits, seeds, torch.zeros_like(seeds), Sampling(1, 1.0, 0.75)).bincount(minlength=4)
        / 20_000
    )
    assert torch.allclose(nucleus, torch.tensor([0.625, 0.375, 0, 0]), atol=0.02)
    first, second = uniform(seeds, zeros), uniform(seeds, zeros + 1)
    assert float(first.min()) >= 0 and float(first.max()) < 1
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.03
    assert torch.equal(uniform(seeds[3:5], zeros[3:5] + 7), uniform(seeds, zeros + 7)[3:5])
