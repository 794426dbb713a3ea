"""Written by hand on transformers: settings as rows of a static batch; blocks run to the last read.

What a careful user would write in an afternoon: a DynamicCache loop in which every row has a vector
of its own, and a forward pass over the blocks that stops after the last layer that is pooled.
"""

import torch
from torch import Tensor
from transformers import DynamicCache

from benchmarks.contenders.transformers_model import loaded
from benchmarks.tasks import Answers, Reading, Steering

PAD = 0


class _Enough(Exception):
    """The last layer that is read has run."""


class Contender:
    """Several settings in one batch, which runs until its last row has ended."""

    def __init__(self, folder: str) -> None:
        self.model = loaded(folder)
        self.blocks = self.model.model.layers

    @torch.inference_mode()
    def read(self, task: Reading) -> Tensor:
        """Pool each layer in a hook; the last hook leaves the forward pass."""
        pooled = torch.empty(len(task.ids), task.layers, self.model.config.hidden_size)
        start = 0

        def hook(layer: int, hidden: Tensor) -> None:
            pooled[start : start + len(hidden), layer] = task.pool(hidden)
            if layer == task.layers - 1:
                raise _Enough

        handles = [
            self.blocks[layer].register_forward_hook(
                lambda _module, _inputs, output, layer=layer: hook(layer, output)
            )
            for layer in range(task.layers)
        ]
        try:
            for ids in task.batches():
                try:
                    self.model.model(input_ids=ids, use_cache=False)
                except _Enough:
                    start += len(ids)
        finally:
            for handle in handles:
                handle.remove()
        return pooled

    @torch.inference_mode()
    def steer(self, task: Steering) -> Answers:
        """Rows are (setting, prompt), `task.rows` of them in one batch."""
        prompts, mask = task.padded(PAD)
        settings = torch.arange(len(task.settings)).repeat_interleave(len(prompts))
        places = torch.arange(len(prompts)).repeat(len(task.settings))
        answers: Answers = []
        for chosen in torch.arange(len(settings)).split(task.rows):
            answers += self._batch(
                task, settings[chosen], prompts[places[chosen]], mask[places[chosen]]
            )
        return answers

    def _batch(self, task: Steering, settings: Tensor, ids: Tensor, mask: Tensor) -> Answers:
        added = task.added()[settings][:, None]
        layers = torch.tensor([layer for layer, _ in task.settings])[settings]
        handles = []
        for layer in layers.unique().tolist():
            rows = added * (layers == layer)[:, None, None]
            handles.append(
                self.blocks[layer].register_forward_hook(
                    lambda _module, _inputs, output, rows=rows: output + rows
                )
            )
        ends = torch.tensor(task.ends, dtype=torch.long)
        cache = DynamicCache(config=self.model.config)
        at = (mask.cumsum(1) - 1).clamp_min(0)
        tokens, ended = [], torch.zeros(len(ids), dtype=torch.bool)
        try:
            for _ in range(task.new_tokens):
                logits = self.model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=at,
                    past_key_values=cache,
                    logits_to_keep=1,
                ).logits
                ids = logits.argmax(dim=-1)
                tokens.append(ids)
                ended |= torch.isin(ids[:, 0], ends)
                if ended.all():
                    break
                at = at[:, -1:] + 1
                mask = torch.cat([mask, mask.new_ones(len(ids), 1)], dim=1)
        finally:
            for handle in handles:
                handle.remove()
        return task.cut(torch.cat(tokens, dim=1))
