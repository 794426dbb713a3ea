"""nnsight: a trace that stops after the last layer read, and one invoke for each setting.

The invokes of a trace share one batch, so that several settings run together; each adds its vector
at every step of the generation.
"""

from typing import Any

import torch
from nnsight import TransformersModel
from torch import Tensor

from benchmarks.contenders.transformers_model import generation
from benchmarks.tasks import Answers, Reading, Steering


class Contender:
    """As many settings in one generation as `task.rows` holds."""

    def __init__(self, folder: str) -> None:
        self.model = TransformersModel(
            folder, task="text-generation", dispatch=True, dtype=torch.float32, device_map="cpu"
        )
        self.model.tokenizer.padding_side = "left"
        self.pad = self.model.tokenizer.pad_token_id

    @torch.inference_mode()
    def read(self, task: Reading) -> Tensor:
        """Pool inside the trace and stop it after the last layer that is asked for."""
        blocks = self.model.model.layers
        pooled = []
        for ids in task.batches():
            with self.model.trace({"input_ids": ids}, use_cache=False) as tracer:
                layers = list().save()
                for layer in range(task.layers):
                    layers.append(task.pool(blocks[layer].output))
                tracer.stop()
            pooled.append(torch.stack(layers, dim=1))
        return torch.cat(pooled)

    @torch.inference_mode()
    def steer(self, task: Steering) -> Answers:
        """One invoke for each setting."""
        ids, mask = task.padded(self.pad)
        prompts = {"input_ids": ids, "attention_mask": mask}
        added = task.added()
        at_once = max(1, task.rows // len(ids))
        answers: Answers = []
        for start in range(0, len(added), at_once):
            places = range(start, min(start + at_once, len(added)))
            tokens = self._together(
                task, prompts, [task.settings[p][0] for p in places], added[start:]
            )
            answers += task.cut(tokens[:, ids.shape[1] :])
        return answers

    def _together(
        self, task: Steering, prompts: dict[str, Tensor], layers: list[int], added: Tensor
    ) -> Tensor:
        asked: dict[str, Any] = generation(task, self.pad)
        blocks = self.model.model.layers
        with self.model.generate(**asked) as tracer:
            for layer, vector in zip(layers, added, strict=False):
                with tracer.invoke(prompts):
                    for _ in tracer.iter[:]:
                        blocks[layer].output[:] += vector
            with tracer.invoke():
                made = tracer.result.save()
        return made
