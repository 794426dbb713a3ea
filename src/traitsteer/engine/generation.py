"""Steered generation: rows in, token ids out, every row with a setting and a seed of its own.

A batch mixes layers, vectors, coefficients and seeds freely, because a setting travels with its
row. A row's sample depends on its seed and step alone, so neither batch size nor order changes it.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from transformers import DynamicCache

from traitsteer.words.errors import TraitsteerError
from traitsteer.world.hooks import Change, on_blocks
from traitsteer.world.language_model import LanguageModel

Steered = Literal["all", "prompt", "response"]


@dataclass(frozen=True, eq=False)
class Steering:
    """Add `coefficient * vector` to the output of block `layer` at the steered positions."""

    layer: int
    vector: Tensor
    """[width], float32, norm 1."""
    coefficient: float
    """L2 length of what is added, in residual-stream units."""
    positions: Steered = "all"


@dataclass(frozen=True, eq=False)
class Row:
    """One response to generate."""

    prompt_ids: tuple[int, ...]
    seed: int
    steering: Steering | None = None


@dataclass(frozen=True)
class Sampling:
    """Length and temperature of responses; temperature 0 is greedy."""

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0


@dataclass(frozen=True)
class Generated:
    """The response ids of one row, without the token that ended it."""

    ids: tuple[int, ...]
    finish: Literal["stop", "length"]


def generate(
    model: LanguageModel,
    rows: Sequence[Row],
    sampling: Sampling,
    batch_rows: int,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Generated]:
    """Generate one response for each row, in the order of the rows.

    Args:
        batch_rows: most rows in one forward pass; changes speed and memory, never a result.
        progress: called with the number of rows that each batch finished.

    Raises:
        TraitsteerError: a row has an empty prompt, or its steering does not fit the model.
    """
    for index, row in enumerate(rows):
        _check(model, index, row)
    results: dict[int, Generated] = {}
    # Rows of similar length share a batch, so that little of it is padding.
    order = sorted(range(len(rows)), key=lambda index: len(rows[index].prompt_ids))
    for start in range(0, len(order), batch_rows):
        chosen = order[start : start + batch_rows]
        batch = _Batch(model, [rows[index] for index in chosen])
        for place, generated in batch.run(sampling):
            results[chosen[place]] = generated
        progress(len(chosen))
    return [results[index] for index in range(len(rows))]


def _check(model: LanguageModel, index: int, row: Row) -> None:
    if not row.prompt_ids:
        raise TraitsteerError(f"Row {index} has an empty prompt; give it at least one token.")
    steering = row.steering
    if steering is None:
        return
    if not 0 <= steering.layer < model.layers:
        raise TraitsteerError(
            f"Row {index} is steered at layer {steering.layer}; {model.name} has layers 0 to "
            f"{model.layers - 1}."
        )
    if tuple(steering.vector.shape) != (model.width,):
        raise TraitsteerError(
            f"Row {index} has a vector of shape {tuple(steering.vector.shape)}; the residual "
            f"stream of {model.name} has width {model.width}."
        )


class _Batch:
    """Rows that are decoded together; finished rows leave as soon as a quarter has finished."""

    def __init__(self, model: LanguageModel, rows: Sequence[Row]) -> None:
        self.model = model
        device = model.device
        lengths = torch.tensor([len(row.prompt_ids) for row in rows])
        width = int(lengths.max())
        ids = torch.full((len(rows), width), model.pad_id)
        for place, row in enumerate(rows):
            ids[place, width - len(row.prompt_ids) :] = torch.tensor(row.prompt_ids)
        self.ids = ids.to(device)
        self.mask = (torch.arange(width) >= width - lengths[:, None]).long().to(device)
        self.lengths = lengths.to(device)
        self.seeds = torch.tensor([row.seed for row in rows], device=device)
        self.places = torch.arange(len(rows), device=device)
        self.added, self.on_prompt, self.on_response = self._steering(rows)
        self.prefilling = True

    def _steering(self, rows: Sequence[Row]) -> tuple[dict[int, Tensor], Tensor, Tensor]:
        """What each layer adds to each row, [rows, width], and where it is added."""
        added: dict[int, Tensor] = {}
        for place, row in enumerate(rows):
            steering = row.steering
            if steering is None or steering.coefficient == 0:
                continue
            if steering.layer not in added:
                added[steering.layer] = torch.zeros(len(rows), self.model.width)
            added[steering.layer][place] = steering.coefficient * steering.vector.float()
        positions = [row.steering.positions if row.steering else "all" for row in rows]
        on_prompt = torch.tensor([p in ("all", "prompt") for p in positions])
        on_response = torch.tensor([p in ("all", "response") for p in positions])
        device = self.model.device
        placed = {layer: rows_added.to(device) for layer, rows_added in added.items()}
        return placed, on_prompt.to(device), on_response.to(device)

    def _add(self, layer: int, hidden: Tensor) -> Tensor:
        if self.prefilling:
            where = self.mask[:, :, None] * self.on_prompt[:, None, None]
        else:
            where = self.on_response[:, None, None]
        added = (self.added[layer][:, None, :] * where).to(hidden.device)
        # The sum is formed in float32, so that a small coefficient is not lost to bf16.
        return (hidden.float() + added).to(hidden.dtype)

    @torch.inference_mode()
    def run(self, sampling: Sampling) -> list[tuple[int, Generated]]:
        """Return (place of the row in the batch, what it generated) as rows finished."""
        done: list[tuple[int, Generated]] = []
        cache = DynamicCache(config=self.model.model.config)
        positions = (self.mask.cumsum(1) - 1).clamp_min(0)
        inputs, ends = self.ids, torch.tensor(self.model.end_ids, device=self.ids.device)
        written = torch.empty((len(self.ids), 0), dtype=torch.long, device=self.ids.device)
        alive = torch.ones(len(self.ids), dtype=torch.bool, device=self.ids.device)
        changes: dict[int, Change] = {
            layer: functools.partial(self._add, layer) for layer in self.added
        }
        with on_blocks(self.model.blocks, changes):
            for step in range(sampling.max_new_tokens):
                logits = self.model.model(
                    input_ids=inputs,
                    attention_mask=self.mask,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                ).logits[:, -1]
                self.prefilling = False
                token = choose(logits, self.seeds, step, sampling)
                written = torch.cat([written, token[:, None]], dim=1)
                ended = alive & torch.isin(token, ends)
                for place in ended.nonzero()[:, 0].tolist():
                    ids = tuple(written[place, :-1].tolist())
                    done.append((int(self.places[place]), Generated(ids, "stop")))
                alive = alive & ~ended
                left = int(alive.sum())
                if left == 0:
                    return done
                if left <= 0.75 * len(alive):
                    keep = alive.nonzero()[:, 0]
                    cache.batch_select_indices(keep)
                    self._keep(keep)
                    written, token, alive = written[keep], token[keep], alive[keep]
                inputs = token[:, None]
                positions = (self.lengths + step)[:, None]
                self.mask = torch.cat([self.mask, torch.ones_like(inputs)], dim=1)
        for place in alive.nonzero()[:, 0].tolist():
            ids = tuple(written[place].tolist())
            done.append((int(self.places[place]), Generated(ids, "length")))
        return done

    def _keep(self, keep: Tensor) -> None:
        self.mask, self.lengths = self.mask[keep], self.lengths[keep]
        self.seeds, self.places = self.seeds[keep], self.places[keep]
        self.on_prompt, self.on_response = self.on_prompt[keep], self.on_response[keep]
        for layer in self.added:
            self.added[layer] = self.added[layer][keep]


def choose(logits: Tensor, seeds: Tensor, step: int, sampling: Sampling) -> Tensor:
    """Choose a token for each row by inverting the cumulative distribution at one uniform number.

    Args:
        logits: [rows, vocabulary].
        seeds: [rows], int64.

    Returns:
        [rows], int64.
    """
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    chances = (logits.double() / sampling.temperature).softmax(dim=-1)
    draw = uniform(seeds, step)[:, None]
    if sampling.top_p == 1:
        total = chances.cumsum(dim=-1)
        found = torch.searchsorted(total, draw * total[:, -1:], right=True)
        return found[:, 0].clamp_max(logits.shape[-1] - 1)
    # The nucleus: the fewest likeliest tokens whose probability reaches top_p.
    chances, tokens = chances.sort(dim=-1, descending=True, stable=True)
    total = chances.cumsum(dim=-1)
    chances = chances.masked_fill(total - chances >= sampling.top_p, 0)
    total = chances.cumsum(dim=-1)
    found = torch.searchsorted(total, draw * total[:, -1:], right=True)
    return tokens.gather(1, found.clamp_max(logits.shape[-1] - 1))[:, 0]


def uniform(seeds: Tensor, step: int) -> Tensor:
    """A number in [0, 1) for each seed at this step, float64 [rows]; SplitMix64 on seed and step.

    Source: Steele, Lea, Flood 2014, Fast Splittable Pseudorandom Number Generators.
    """
    state = _mixed(seeds) + _signed((step + 1) * 0x9E3779B97F4A7C15)
    return _shifted(_mixed(state), 11).double() * 2.0**-53


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
