"""transformer-lens: the bridge's hooks; `stop_at_layer` for reading, `generate` inside `hooks`."""

from collections.abc import Callable

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from benchmarks.tasks import Answers, Reading, Steering


class Contender:
    """One setting at a time, all its prompts in one batch."""

    def __init__(self, folder: str) -> None:
        self.model = TransformerBridge.boot_transformers(folder, device="cpu", dtype=torch.float32)
        self.pad = self.model.tokenizer.pad_token_id

    @torch.inference_mode()
    def read(self, task: Reading) -> Tensor:
        """Pool in hooks of the residual stream, which ends after the last layer asked for."""
        pooled = []
        for ids in task.batches():
            layers: list[Tensor] = []

            def keep(value: Tensor, hook: object, layers: list[Tensor] = layers) -> None:
                layers.append(task.pool(value))

            hooks = [(f"blocks.{layer}.hook_resid_post", keep) for layer in range(task.layers)]
            self.model.run_with_hooks(
                ids, return_type=None, fwd_hooks=hooks, stop_at_layer=task.layers
            )
            pooled.append(torch.stack(layers, dim=1))
        return torch.cat(pooled)

    @torch.inference_mode()
    def steer(self, task: Steering) -> Answers:
        """`hf_generate` once for each setting."""
        ids, mask = task.padded(self.pad)
        answers: Answers = []
        for (layer, _), added in zip(task.settings, task.added(), strict=True):
            with self.model.hooks([(f"blocks.{layer}.hook_resid_post", _adding(added))]):
                made = self.model.hf_generate(
                    ids,
                    attention_mask=mask,
                    max_new_tokens=task.new_tokens,
                    do_sample=False,
                    stop_at_eos=bool(task.ends),
                    eos_token_id=task.ends,
                    return_type="tokens",
                )
            answers += task.cut(made[:, ids.shape[1] :])
        return answers


def _adding(added: Tensor) -> Callable[[Tensor, object], Tensor]:
    return lambda value, hook: value + added
