"""Prompts through the model once, shared wherever the steering leaves that valid (`sharing.py`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from traitsteer.engine.added import adding
from traitsteer.engine.last_block import last_tokens, looking_at
from traitsteer.engine.rows import Row, Steering
from traitsteer.engine.sharing import Alike, Level
from traitsteer.engine.stairs import Stairs
from traitsteer.words.shapes import Bool, Float, Int
from traitsteer.world.model.hooks import Change
from traitsteer.world.model.inference import LAST_TOKEN
from traitsteer.world.model.language_model import LanguageModel


@dataclass(frozen=True)
class Prefilled:
    """What the prompts of some rows left behind; prompts are aligned at their last tokens."""

    levels: list[Level]
    """The runs at the input of each block, and at the output of the last."""
    layers: list[tuple[Tensor, Tensor] | None]
    """Keys and values `[runs, heads, tokens, head width]` of each block; None if it keeps none."""
    logits: Float[Tensor, "rows vocabulary"]
    """Of the first response token."""
    tokens: int
    """Columns of the prompts, padding included."""


def prefill(model: LanguageModel, rows: Sequence[Row]) -> Prefilled:
    """Run the prompts of these rows; the caller has inference mode on."""
    steerings = [row.steered("prompt") for row in rows]
    alike = Alike.of(rows, steerings, model.layers)
    levels = [alike.level(number) for number in range(model.layers + 1)]
    prompts = [rows[at].prompt_ids for at in levels[0].first]
    config = model.model.config.get_text_config()
    if 1 < len(prompts) == getattr(config, "num_attention_heads", 0):
        # What has a dimension of heads would look like what has one of prompts.
        prompts.append(prompts[-1])
    ids, mask = _padded(prompts, model.pad_id)
    # Known before the mask is on a device, which would have to wait.
    full = bool(mask.all())
    ids, mask = ids.to(model.device), mask.to(model.device)
    kept = [_Recorded() for _ in range(model.layers)]
    climbed = Stairs(levels, len(ids)).climbed(model, _changes(levels, steerings, mask))
    with looking_at(model, model.layers - 1, last_tokens), climbed:
        logits = model.model(
            input_ids=ids,
            attention_mask=None if full else mask.long(),
            position_ids=(mask.long().cumsum(1) - 1).clamp_min(0),
            past_key_values=Cache(layers=list(kept)),
            use_cache=True,
            # Positions: told how many, blocks that read the keys of others run for the last alone.
            logits_to_keep=LAST_TOKEN,
        ).logits[:, -1]
    of_row = torch.from_numpy(levels[-1].place).to(logits.device)
    return Prefilled(
        levels, [layer.kept() for layer in kept], logits.index_select(0, of_row), ids.shape[1]
    )


def _padded(
    prompts: Sequence[tuple[int, ...]], pad: int
) -> tuple[Int[Tensor, "prompts tokens"], Bool[Tensor, "prompts tokens"]]:
    """Ids and mask, padded on the left."""
    width = max(map(len, prompts))
    # As many columns as prompts would make the two dimensions of an argument look alike.
    width += 1 < width == len(prompts)
    ids = torch.full((len(prompts), width), pad)
    for place, prompt in enumerate(prompts):
        ids[place, width - len(prompt) :] = torch.tensor(prompt)
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    return ids, torch.arange(width) >= width - lengths[:, None]


def _changes(
    levels: Sequence[Level], steerings: Sequence[Steering | None], mask: Tensor
) -> dict[int, Change]:
    """For each steered block, what steers the runs that begin at its output."""
    changes: dict[int, Change] = {}
    for block in sorted({each.layer for each in steerings if each}):
        first = levels[block + 1].first
        born = [
            (place, row, steering)
            for place, row in enumerate(first.tolist())
            if (steering := steerings[row]) and steering.layer == block
        ]
        prompts = torch.from_numpy(levels[0].place[np.array([row for _, row, _ in born])])
        tokens = mask.index_select(0, prompts.to(mask.device))
        changes[block] = adding([(place, steering) for place, _, steering in born], tokens)
    return changes


class _Recorded(CacheLayerMixin):
    """Keeps the keys and values of one forward pass as they are."""

    is_sliding = False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def kept(self) -> tuple[Tensor, Tensor] | None:
        """Both, once the pass is over; None of a block that keeps none."""
        if self.keys is None or self.values is None:
            return None
        return self.keys, self.values

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        *args: Any,  # noqa: ANN401 - what else an architecture passes
        **kwargs: Any,  # noqa: ANN401
    ) -> tuple[Tensor, Tensor]:
        """Keep and return them."""
        self.keys, self.values = key_states, value_states
        return key_states, value_states

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing is made ahead."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """The tokens of this pass alone."""
        return query_length, 0

    def get_seq_length(self) -> int:
        """Nothing came before."""
        return 0

    def get_max_length(self) -> int:
        """There is no limit."""
        return -1
