"""nnterp: `steer` of a StandardizedTransformer at every step of a generation."""

from pathlib import Path

import torch
from nnterp import StandardizedTransformer
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from benchmarks.contenders.transformers_model import generation, loaded
from benchmarks.tasks import Answers, Steering


class Contender:
    """One setting at a time, all its prompts in one batch."""

    def __init__(self, folder: str) -> None:
        model = loaded(folder)
        self.pad = model.config.pad_token_id
        # transformers 4 cannot read the tokenizer's settings that transformers 5 wrote.
        words = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=words, pad_token=words.id_to_token(self.pad), padding_side="left"
        )
        self.model = StandardizedTransformer(model, tokenizer=tokenizer, device_map=None)

    @torch.no_grad()
    def steer(self, task: Steering) -> Answers:
        """One generation for each setting.

        The body of a trace runs in a thread of its own, which inference mode does not reach.
        """
        ids, mask = task.padded(self.pad)
        prompts = {"input_ids": ids, "attention_mask": mask}
        answers: Answers = []
        for (layer, _), vector in zip(task.settings, task.added(), strict=True):
            with self.model.generate(**generation(task, self.pad)) as tracer:
                with tracer.invoke(prompts):
                    for _ in tracer.iter[:]:
                        self.model.steer(layer, vector)
                # Nothing after an open-ended loop runs where all answers end early.
                with tracer.invoke():
                    made = tracer.result.save()
            answers += task.cut(made[:, ids.shape[1] :])
        return answers
