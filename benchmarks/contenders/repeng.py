"""repeng: a ControlModel around the model, with one control vector at a time."""

import torch
from repeng import ControlModel
from torch import Tensor

from benchmarks.contenders.transformers_model import generation, loaded
from benchmarks.tasks import Answers, Reading, Steering

PAD = 0


class Contender:
    """One setting at a time, all its prompts in one batch."""

    def __init__(self, folder: str) -> None:
        model = loaded(folder)
        self.layers = range(model.config.num_hidden_layers)
        self.model = ControlModel(model, self.layers)

    @torch.inference_mode()
    def read(self, task: Reading) -> Tensor:
        """What its extraction does: `output_hidden_states` of the whole model, then pooled.

        It offers no other; the last block's states come out normed, so a hook takes them before.
        """
        last: list[Tensor] = []
        block = self.model.model.model.layers[-1]
        handle = block.register_forward_hook(lambda _m, _i, output: last.append(output))
        pooled = []
        try:
            for ids in task.batches():
                states = self.model(input_ids=ids, output_hidden_states=True).hidden_states
                layers = [*states[1:-1], last.pop()][: task.layers]
                pooled.append(torch.stack([task.pool(layer) for layer in layers], dim=1))
        finally:
            handle.remove()
        return torch.cat(pooled)

    @torch.inference_mode()
    def steer(self, task: Steering) -> Answers:
        """`generate` once for each setting, with zeros as the control of all other layers."""
        ids, mask = task.padded(PAD)
        answers: Answers = []
        for (layer, _), vector in zip(task.settings, task.added(), strict=True):
            control = {at: torch.zeros_like(vector) for at in self.layers} | {layer: vector}
            self.model.set_raw_control(control)
            made = self.model.generate(input_ids=ids, attention_mask=mask, **generation(task, PAD))
            answers += task.cut(made[:, ids.shape[1] :])
        self.model.reset()
        return answers
