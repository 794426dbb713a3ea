"""transformers alone: `output_hidden_states`, and `generate` with a hook for one setting at a time.

Its answers are the reference that the others are checked against.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from benchmarks.contenders.transformers_model import generation, loaded
from benchmarks.tasks import Answers, Reading, Steering

PAD = 0


class Contender:
    """One setting at a time, all its prompts in one batch."""

    def __init__(self, folder: str) -> None:
        self._take(loaded(folder))

    @classmethod
    def around(cls, model: Any) -> "Contender":  # noqa: ANN401 - a model of transformers
        """A contender with a model that is there already, on whatever device."""
        made = cls.__new__(cls)
        made._take(model)
        return made

    def _take(self, model: Any) -> None:  # noqa: ANN401
        self.model = model
        self.blocks = model.model.layers

    @torch.inference_mode()
    def read(self, task: Reading) -> Tensor:
        """Pool what `output_hidden_states` gives."""
        pooled = []
        for ids in task.batches():
            layers = self._outputs(ids)[: task.layers]
            pooled.append(torch.stack([task.pool(layer) for layer in layers], dim=1))
        return torch.cat(pooled)

    @torch.inference_mode()
    def steer(self, task: Steering) -> Answers:
        """`generate` once for each setting."""
        return [answer for tokens, _ in self._settings(task) for answer in task.cut(tokens)]

    @torch.inference_mode()
    def reference(self, task: Steering) -> dict[str, Any]:
        """Answers, and at each token the runner-up and how far behind its logit was."""
        answers, seconds, gaps = [], [], []
        for tokens, logits in self._settings(task, output_logits=True):
            best = torch.stack(logits, dim=1).topk(2, dim=-1)
            answers += tokens.tolist()
            seconds += best.indices[..., 1].tolist()
            gaps += (best.values[..., 0] - best.values[..., 1]).tolist()
        return {"answers": answers, "runners_up": seconds, "gaps": gaps}

    @torch.inference_mode()
    def norms(self, prompts: list[list[int]]) -> list[float]:
        """Mean residual norm of each layer over all tokens of the prompts."""
        total, tokens = torch.zeros(len(self.blocks)), 0
        for prompt in prompts:
            layers = self._outputs(torch.tensor([prompt]))
            total += torch.stack([layer.norm(dim=-1).sum() for layer in layers])
            tokens += len(prompt)
        return [float(norm) for norm in total / tokens]

    def _outputs(self, ids: Tensor) -> list[Tensor]:
        """Of each block; a hook takes those of the last, which transformers gives normed."""
        last: list[Tensor] = []

        def take(_module: object, _inputs: object, output: Tensor) -> None:
            last.append(output)

        with _hook(self.blocks[-1], take):
            made = self.model.model(input_ids=ids, output_hidden_states=True, use_cache=False)
        return [*made.hidden_states[1:-1], *last]

    def _settings(self, task: Steering, **more: bool) -> Iterator[tuple[Tensor, Any]]:
        ids, mask = (given.to(self.model.device) for given in task.padded(PAD))
        asked = generation(task, PAD) | more | {"return_dict_in_generate": True}
        vectors = task.added().to(self.model.device, self.model.dtype)
        for (layer, _), added in zip(task.settings, vectors, strict=True):

            def add(_m: object, _i: object, output: Tensor, added: Tensor = added) -> Tensor:
                return output + added

            with _hook(self.blocks[layer], add):
                made = self.model.generate(input_ids=ids, attention_mask=mask, **asked)
            yield made.sequences[:, ids.shape[1] :], made.get("logits")


@contextmanager
def _hook(block: torch.nn.Module, change: Callable[..., Any]) -> Iterator[None]:
    handle = block.register_forward_hook(change)
    try:
        yield
    finally:
        handle.remove()
