"""pyvene: collecting and adding interventions on block outputs."""

from typing import Any

import pyvene
import torch
from torch import Tensor

from benchmarks.contenders.transformers_model import generation, loaded
from benchmarks.tasks import Answers, Reading, Steering

PAD = 0


class Contender:
    """One setting at a time, all its prompts in one batch."""

    def __init__(self, folder: str) -> None:
        self.model = loaded(folder)
        self.width = self.model.config.hidden_size

    def _intervenable(self, interventions: list[dict[str, Any]]) -> Any:  # noqa: ANN401
        return pyvene.IntervenableModel(interventions, model=self.model)

    @torch.inference_mode()
    def read(self, task: Reading) -> Tensor:
        """A collecting intervention at each layer asked for; the model runs to its end."""
        collecting = self._intervenable(
            [
                {
                    "layer": layer,
                    "component": "block_output",
                    "intervention": pyvene.CollectIntervention(
                        embed_dim=self.width, keep_last_dim=True
                    ),
                }
                for layer in range(task.layers)
            ]
        )
        pooled = []
        for ids in task.batches():
            (_, layers), _ = collecting({"input_ids": ids}, unit_locations=None)
            pooled.append(torch.stack([task.pool(layer) for layer in layers], dim=1))
        return torch.cat(pooled)

    @torch.inference_mode()
    def steer(self, task: Steering) -> Answers:
        """One generation for each setting."""
        ids, mask = task.padded(PAD)
        base = {"input_ids": ids, "attention_mask": mask}
        answers: Answers = []
        for (layer, _), vector in zip(task.settings, task.added(), strict=True):
            adding = self._intervenable(
                [
                    {
                        "layer": layer,
                        "component": "block_output",
                        "intervention": pyvene.AdditionIntervention(
                            embed_dim=self.width, source_representation=vector
                        ),
                    }
                ]
            )
            _, made = adding.generate(
                base, unit_locations=None, intervene_on_prompt=True, **generation(task, PAD)
            )
            answers += task.cut(made[:, ids.shape[1] :])
        return answers
