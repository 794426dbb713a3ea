"""steering-vectors: `record_activations` for reading, `SteeringVector.apply` around `generate`."""

import torch
from steering_vectors import SteeringVector, record_activations
from torch import Tensor

from benchmarks.contenders.transformers_model import generation, loaded
from benchmarks.tasks import Answers, Reading, Steering

PAD = 0


class Contender:
    """One setting at a time, all its prompts in one batch."""

    def __init__(self, folder: str) -> None:
        self.model = loaded(folder)

    @torch.inference_mode()
    def read(self, task: Reading) -> Tensor:
        """Record the blocks that are asked for; the model runs to its end."""
        pooled = []
        wanted = range(task.layers)
        for ids in task.batches():
            with record_activations(self.model, layer_nums=wanted, clone_activations=False) as seen:
                self.model.model(input_ids=ids, use_cache=False)
            pooled.append(torch.stack([task.pool(seen[layer][0]) for layer in wanted], dim=1))
        return torch.cat(pooled)

    @torch.inference_mode()
    def steer(self, task: Steering) -> Answers:
        """`generate` once for each setting."""
        ids, mask = task.padded(PAD)
        answers: Answers = []
        for (layer, _), vector in zip(task.settings, task.added(), strict=True):
            with SteeringVector({layer: vector}).apply(self.model):
                made = self.model.generate(
                    input_ids=ids, attention_mask=mask, **generation(task, PAD)
                )
            answers += task.cut(made[:, ids.shape[1] :])
        return answers
