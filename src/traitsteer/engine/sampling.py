"""Choosing tokens: a row's draw depends on its seed and step alone, never on its batch."""

from collections.abc import Callable

import torch
from torch import Tensor

from traitsteer.engine.rows import Sampling
from traitsteer.words.shapes import Bool, Float, Int

_GROUP = 64
"""Neighbouring tokens that are reduced to one number before the search among these numbers."""
_LIKELIEST = (256, 2048)
"""Tokens among which a nucleus is looked for before the whole vocabulary is sorted."""
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
        return _largest(logits)
    scaled = logits.float()
    if sampling.temperature != 1:
        scaled = scaled / sampling.temperature
    chances = scaled.softmax(dim=-1)
    if sampling.top_p < 1:
        chances = _nucleus(chances, sampling.top_p)
    return _inverted(chances, uniform(seeds, steps)[:, None])


def _nucleus(chances: Tensor, top_p: float) -> Tensor:
    """The fewest likeliest tokens whose probability reaches `top_p`; 0 for all others.

    Of equally likely tokens the first is taken first, so that ties are the same in any batch.
    """
    kept = torch.zeros_like(chances)
    left = torch.arange(len(chances), device=chances.device)
    vocabulary = chances.shape[1]
    for most in _LIKELIEST:
        if 4 * most > vocabulary or not len(left):
            break
        rest = chances[left]
        likeliest, tokens = rest.topk(most, dim=1)
        # Others may be as likely as the last of these.
        sure = likeliest > likeliest[:, -1:]
        enough = (likeliest * sure).sum(dim=1, dtype=torch.float64) >= top_p
        kept[left[enough]] = _kept(rest[enough], tokens[enough].sort(dim=1).values, top_p)
        left = left[~enough]
    if len(left):
        every = torch.arange(vocabulary, device=left.device).expand(len(left), -1)
        kept[left] = _kept(chances[left], every, top_p)
    return kept


def _kept(chances: Tensor, tokens: Tensor, top_p: float) -> Tensor:
    """The nucleus where it lies among `tokens` [rows, some], in the order of the vocabulary."""
    some = chances.gather(1, tokens)
    likeliest, order = torch.sort(some, dim=1, descending=True, stable=True)
    before = likeliest.cumsum(dim=1, dtype=torch.float64) - likeliest
    likeliest = likeliest.masked_fill(before >= top_p, 0)
    return torch.zeros_like(chances).scatter_(1, tokens.gather(1, order), likeliest)


def _inverted(chances: Tensor, draw: Tensor) -> Tensor:
    """First place [rows] where the running sum of `chances`, float64, passes `draw` of its total.

    The search goes over sums of groups first: a running sum over a whole vocabulary costs more
    than the softmax before it.
    """
    sums = _of_groups(chances, lambda group: group.sum(dim=-1))
    total = sums.cumsum(dim=-1, dtype=torch.float64)
    all_of_it = total[:, -1:]
    wanted = torch.minimum(draw * all_of_it, all_of_it.nextafter(torch.zeros_like(all_of_it)))
    group = torch.searchsorted(total, wanted, right=True).clamp_max(total.shape[1] - 1)
    before = torch.where(group > 0, total.gather(1, (group - 1).clamp_min(0)), 0.0)
    within = _group(chances, group, 0.0)
    place = torch.searchsorted(
        within.cumsum(dim=-1, dtype=torch.float64), wanted - before, right=True
    )
    # Rounding must not choose a token without probability.
    last = _GROUP - 1 - (within.flip(-1) > 0).int().argmax(dim=-1, keepdim=True)
    # A row of NaN finds no place: it gets any token, and is refused by who sees its logits.
    place = (group * _GROUP + torch.minimum(place, last))[:, 0]
    return place.clamp_max(chances.shape[1] - 1)


def _largest(logits: Tensor) -> Tensor:
    """First place [rows] of the largest number, or of a NaN.

    By groups: on a CPU torch looks for a greatest number faster than for its place.
    """
    group = _of_groups(logits, lambda group: group.amax(dim=-1)).argmax(dim=-1, keepdim=True)
    place = _group(logits, group, -torch.inf).argmax(dim=-1, keepdim=True)
    return (group * _GROUP + place)[:, 0]


def _of_groups(values: Tensor, reduced: Callable[[Tensor], Tensor]) -> Tensor:
    """`reduced` of each group of neighbours [rows, groups]; the last may be smaller."""
    whole = values.shape[1] // _GROUP * _GROUP
    parts = []
    if whole:
        parts.append(reduced(values[:, :whole].unflatten(1, (-1, _GROUP))))
    if whole < values.shape[1]:
        parts.append(reduced(values[:, None, whole:]))
    return torch.cat(parts, dim=1)


def _group(values: Tensor, group: Tensor, missing: float) -> Tensor:
    """The values [rows, group size] of one group in each row."""
    places = group * _GROUP + torch.arange(_GROUP, device=values.device)
    found = values.gather(1, places.clamp_max(values.shape[1] - 1))
    return found.masked_fill(places >= values.shape[1], missing)


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
    # The slots of rows that have left go on counting in steps of fixed shapes.
    tail = written.gather(1, (counts[:, None] + back).clamp(0, written.shape[1] - 1))
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
