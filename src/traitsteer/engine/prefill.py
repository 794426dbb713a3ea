"""Prompts through the model once, shared wherever the steering leaves that valid.

Rows with the same prompt are the same up to the block that they are steered at. So a prompt runs
unsteered once, and a steered run is born at the output of its block: the batch grows from block to
block, by the number of different steerings. Rows that differ in their seeds alone share it all.
"""

from collections import UserDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from traitsteer.engine.rows import Row, Steering
from traitsteer.words.shapes import Float, Int
from traitsteer.world.hooks import before_blocks, on_blocks
from traitsteer.world.language_model import LanguageModel


@dataclass(frozen=True)
class LayerPrompts:
    """Keys and values of one block, and the run that holds each row's."""

    keys: Tensor | None
    values: Tensor | None
    """[runs, heads, tokens, head width]; None for a block that keeps none."""
    of_row: Int[Tensor, " rows"]


@dataclass(frozen=True)
class Prefilled:
    """What the prompts of some rows left behind; prompts are aligned at their last tokens."""

    layers: list[LayerPrompts]
    logits: Float[Tensor, "rows vocabulary"]
    """Of the first response token."""
    tokens: int
    """Columns of the prompts, padding included."""


@dataclass(frozen=True)
class _Run:
    """A prompt, unsteered or under one steering, in which it is born at the output of a block."""

    prompt: int
    steering: Steering | None


def prefill(model: LanguageModel, rows: Sequence[Row]) -> Prefilled:
    """Run the prompts of these rows; the caller has inference mode on."""
    prompts = list(dict.fromkeys(row.prompt_ids for row in rows))
    numbers = {prompt: number for number, prompt in enumerate(prompts)}
    runs: dict[tuple[object, ...], _Run] = {}
    of_row: list[_Run] = []
    for row in rows:
        number, steering = numbers[row.prompt_ids], row.steered("prompt")
        key = _key(number, steering)
        of_row.append(runs.setdefault(key, _Run(number, steering)))
    return _Stairs(model, list(runs.values()), prompts).run(of_row)


def _key(number: int, steering: Steering | None) -> tuple[object, ...]:
    if steering is None:
        return (number,)
    return (number, steering.layer, steering.coefficient, id(steering.vector))


def _padded(prompts: Sequence[tuple[int, ...]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and mask [prompts, tokens], padded on the left."""
    width = max(map(len, prompts))
    # As many columns as prompts would make the two dimensions of an argument look alike.
    width += 1 < width == len(prompts)
    ids = torch.full((len(prompts), width), pad)
    for place, prompt in enumerate(prompts):
        ids[place, width - len(prompt) :] = torch.tensor(prompt)
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    mask = torch.arange(width) >= width - lengths[:, None]
    return ids, mask


class _Stairs:
    """Which runs are in the batch at each block, and the forward pass that grows it."""

    def __init__(
        self, model: LanguageModel, runs: Sequence[_Run], prompts: Sequence[tuple[int, ...]]
    ) -> None:
        self.model = model
        config = model.model.config.get_text_config()
        self.shared = bool(getattr(config, "num_kv_shared_layers", 0))
        """Whether later blocks read the keys and values of earlier ones."""
        if 1 < len(prompts) == getattr(config, "num_attention_heads", 0):
            # What has a dimension of heads would look like what has one of prompts.
            prompts = [*prompts, prompts[-1]]
        self.indices: dict[tuple[tuple[int, ...], torch.device], Tensor] = {}
        ids, mask = _padded(prompts, model.pad_id)
        self.full = bool(mask.all())
        """No prompt is padded. Known before the mask is on a device, which would have to wait."""
        self.ids, self.mask = ids.to(model.device), mask.to(model.device)
        self.bases = [_Run(prompt, None) for prompt in range(len(self.ids))]
        end = model.layers
        # The unsteered run of a prompt is needed until its last steered run is born.
        last = [0] * len(self.bases)
        for run in runs:
            until = end if run.steering is None else run.steering.layer
            last[run.prompt] = max(last[run.prompt], until)
        self.batches: list[list[_Run]] = [self.bases]
        """The runs at the input of each block, and at the output of the last."""
        for block in range(end):
            born = [run for run in runs if run.steering and run.steering.layer == block]
            stay = [run for run in self.batches[-1] if run.steering or last[run.prompt] > block]
            self.batches.append(stay + born)

    def run(self, of_row: Sequence[_Run]) -> Prefilled:
        """The forward pass; `of_row` names the run of each row."""
        blocks = range(self.model.layers)
        changed = [at for at in blocks if self.batches[at] != self.batches[at + 1]]
        grown = [at for at in blocks if self.batches[at] != self.bases]
        kept = [_Recorded() for _ in blocks]
        outputs = {at: lambda hidden, at=at: self._grow(at, hidden) for at in changed}
        inputs = {at: lambda args, kwargs, at=at: self._follow(at, args, kwargs) for at in grown}
        positions = (self.mask.long().cumsum(1) - 1).clamp_min(0)
        with before_blocks(self.model.blocks, inputs), on_blocks(self.model.blocks, outputs):
            logits = self.model.model(
                input_ids=self.ids,
                attention_mask=None if self.full else self.mask.long(),
                position_ids=positions,
                past_key_values=Cache(layers=list(kept)),
                use_cache=True,
                # Of a number, blocks that share keys would be run for the last token alone.
                logits_to_keep=torch.tensor([-1]) if self.shared else 1,
            ).logits[:, -1]
        layers = [
            LayerPrompts(layer.keys, layer.values, self._places(at, of_row, logits.device))
            for at, layer in enumerate(kept)
        ]
        chosen = self._places(self.model.layers, of_row, logits.device)
        return Prefilled(layers, logits.index_select(0, chosen), self.ids.shape[1])

    def _places(self, block: int, of_row: Sequence[_Run], device: torch.device) -> Tensor:
        """Where each row's run lies in the batch of this block; before its birth, its base."""
        places = {id(run): place for place, run in enumerate(self.batches[block])}
        found = [places[id(run if id(run) in places else self.bases[run.prompt])] for run in of_row]
        return self._index(found, device)

    def _index(self, places: Sequence[int], device: torch.device) -> Tensor:
        """These places on this device; kept, since the host waits whenever it brings one over."""
        key = tuple(places), device
        if key not in self.indices:
            self.indices[key] = torch.tensor(places, device=device)
        return self.indices[key]

    def _grow(self, block: int, hidden: Tensor) -> Tensor:
        """Runs that are needed no longer leave; those born here join, steered."""
        after = self.batches[block + 1]
        born = [run for run in after if run.steering and run.steering.layer == block]
        hidden = hidden.index_select(0, self._places(block, after, hidden.device))
        if born:
            added = torch.stack(
                [s.coefficient * s.vector.float() for run in born if (s := run.steering)]
            )
            prompts = self._index([run.prompt for run in born], self.mask.device)
            tokens = self.mask.index_select(0, prompts).to(hidden.device)
            # The sum is formed in float32, so that a small coefficient is not lost to bf16.
            hidden[-len(born) :].add_(added.to(hidden.device)[:, None] * tokens[:, :, None])
        return hidden

    def _follow(
        self, block: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Masks and position embeddings of the prompts become those of the runs at this block."""
        runs = self.batches[block]
        prompts = [run.prompt for run in runs]

        def grown(value: Any) -> Any:  # noqa: ANN401 - arguments differ by architecture
            if isinstance(value, tuple):
                return tuple(grown(each) for each in value)
            if isinstance(value, dict):
                return {name: grown(each) for name, each in value.items()}
            if isinstance(value, Tensor) and value.dim() > 1 and len(value) == len(self.bases) > 1:
                return value.index_select(0, self._index(prompts, value.device))
            return value

        if runs != self.batches[block - 1]:
            for value in (*args, *kwargs.values()):
                self._follow_shared(block, value)
        hidden, others = args[:1], args[1:]
        held = {name: value for name, value in kwargs.items() if name == "hidden_states"}
        return (*hidden, *grown(others)), grown(kwargs) | held

    def _follow_shared(self, block: int, value: object) -> None:
        """Keys and values that earlier blocks left for later ones, in one mapping for all."""
        if not isinstance(value, UserDict):
            return
        for name, left in value.items():
            value[name] = tuple(
                each.index_select(0, self._places(block - 1, self.batches[block], each.device))
                for each in left
            )


class _Recorded(CacheLayerMixin):
    """Keeps the keys and values of one forward pass as they are."""

    is_sliding = False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

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
