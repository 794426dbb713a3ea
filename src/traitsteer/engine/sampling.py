"""Choosing tokens: a row's draw depends on its seed and step alone, never on its batch."""

import torch
from torch import Tensor

from traitsteer.engine.rows import Sampling
from traitsteer.words.shapes import Bool, Float, Int

_GROUP = 64
"""Tokens whose probabilities are summed before the search among the sums."""
LOOP_TOKENS = 24
LOOP_PERIOD = 8


def choose(
    logits: Float[Tensor, "rows vocabulary"],
    seeds: Int[Tensor, " rows"],
    steps: Int[Tensor, " rows"],
    sampling: Sampling,
) -> Int[Tensor, " rows"]:
    """Choose a token for each row by inverting the cumulative distribution at one uniform number.

    Args:
        steps: how many tokens of its response a row has already.
    """
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    chances = (logits.float() / sampling.temperature).softmax(dim=-1)
    draw = uniform(seeds, steps)[:, None]
    if sampling.top_p < 1:
        # The nucleus: the fewest likeliest tokens whose probability reaches top_p.
        likeliest, tokens = chances.sort(dim=-1, descending=True, stable=True)
        before = likeliest.cumsum(dim=-1, dtype=torch.float64) - likeliest
        kept = likeliest.masked_fill(before >= sampling.top_p, 0)
        chances = torch.zeros_like(chances).scatter_(1, tokens, kept)
    return _inverted(chances, draw)


def _inverted(chances: Tensor, draw: Tensor) -> Tensor:
    """First place [rows] where the running sum of `chances`, float64, passes `draw` of its total.

    The search goes over sums of groups first: a running sum over a whole vocabulary costs more
    than the softmax before it.
    """
    rows, vocabulary = chances.shape
    groups = -(-vocabulary // _GROUP)
    padded = torch.nn.functional.pad(chances, (0, groups * _GROUP - vocabulary))
    padded = padded.view(rows, groups, _GROUP)
    total = padded.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    all_of_it = total[:, -1:]
    wanted = torch.minimum(draw * all_of_it, all_of_it.nextafter(torch.zeros_like(all_of_it)))
    group = torch.searchsorted(total, wanted, right=True).clamp_max(groups - 1)
    before = torch.where(group > 0, total.gather(1, (group - 1).clamp_min(0)), 0.0)
    within = padded.gather(1, group[:, :, None].expand(-1, -1, _GROUP))[:, 0]
    place = torch.searchsorted(
        within.cumsum(dim=-1, dtype=torch.float64), wanted - before, right=True
    )
    # Rounding must not choose a token without probability.
    last = _GROUP - 1 - (within.flip(-1) > 0).int().argmax(dim=-1, keepdim=True)
    # A row of NaN finds no place: it gets any token, and is refused by who sees its logits.
    return (group * _GROUP + torch.minimum(place, last))[:, 0].clamp_max(vocabulary - 1)


def uniform(seeds: Int[Tensor, " rows"], steps: Int[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """A number in [0, 1) for each seed at its step, float64; SplitMix64 on seed and step.

    Source: Steele, Lea, Flood 2014, Fast Splittable Pseudorandom Number Generators.
    """
    state = _mixed(seeds) + (steps + 1) * _signed(0x9E3779B97F4A7C15)
    return _shifted(_mixed(state), 11).double() * 2.0**-53


def looping(
    written: Int[Tensor, "rows most"], counts: Int[Tensor, " rows"]
) -> Bool[Tensor, " rows"]:
    """Which rows repeat themselves: their last 24 tokens have a period of 8 tokens or fewer.

    Args:
        written: response tokens of each row, of which the first `counts` are valid.
    """
    if written.shape[1] < LOOP_TOKENS:
        return torch.zeros_like(counts, dtype=torch.bool)
    back = torch.arange(LOOP_TOKENS, device=counts.device) - LOOP_TOKENS
    tail = written.gather(1, (counts[:, None] + back).clamp_min(0))
    repeats = torch.zeros_like(counts, dtype=torch.bool)
    for period in range(1, LOOP_PERIOD + 1):
        repeats |= (tail[:, period:] == tail[:, :-period]).all(dim=1)
    return repeats & (counts >= LOOP_TOKENS)


def _mixed(state: Tensor) -> Tensor:
    state = (state ^ _shifted(state, 30)) * _signed(0xBF58476D1CE4E5B9)
    state = (state ^ _shifted(state, 27)) * _signed(0x94D049BB133111EB)
    return state ^ _shifted(state, 31)


def _shifted(state: Tensor, bits: int) -> Tensor:
    """Logical shift to the right; torch shifts int64 arithmetically."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    """The int64 with the same lowest 64 bits."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)
