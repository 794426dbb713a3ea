"""nnterp: `steer` of a StandardizedTransformer at every step of a generation."""

import torch
from nnterp import StandardizedTransformer
from transformers import PreTrainedTokenizerFast

from benchmarks.contenders.transformers_model import generation, loaded
from benchmarks.tasks import Answers, Steering


class Contender:
    """One setting at a time, all its prompts in one batch."""

    def __init__(self, folder: str) -> None:
        # transformers 4 does not know the tokenizer class that transformers 5 names in the folder.
        words = PreTrainedTokenizerFast.from_pretrained(folder)
        self.model = StandardizedTransformer(loaded(folder), tokenizer=words, device_map=None)
        self.pad = self.model.tokenizer.pad_token_id

    @torch.no_grad()
    def steer(self, task: Steering) -> Answers:
        """One generation for each setting.

        The body of a trace runs in a thread of its own, which inference mode does not reach.
        """
        ids, mask = task.padded(self.pad)
        prompts = {"input_ids": ids, "attention_mask": mask}
        answers: Answers = []
        for (layer, _), vector in zip(task.settings, task.added(), strict=True):
            with self.model.generate(prompts, **generation(task, self.pad)) as tracer:
                for _ in tracer.iter[:]:
                    self.model.steer(layer, vector)
                made = tracer.result.save()
            answers += task.cut(made[:, ids.shape[1] :])
        return answers
