"""The model's forward pass alone, and what the machine can do: the yardsticks beside each row."""

import torch

from benchmarks.contenders.transformers_model import loaded
from benchmarks.limits import Dimensions, bandwidth, throughput
from benchmarks.tasks import Forwarding


class Contender:
    """transformers' own forward pass, as it comes."""

    def __init__(self, folder: str) -> None:
        self.model = loaded(folder)

    @torch.inference_mode()
    def forward(self, task: Forwarding) -> None:
        """Run the model over random token ids."""
        for ids in self._ids(task).split(task.rows):
            self.model(input_ids=ids, use_cache=False)

    @torch.inference_mode()
    def machine(self) -> dict[str, float]:
        """Arithmetic of the model's matrices and bytes of memory, each a second."""
        dimensions = Dimensions.of(self.model.config)
        return {"flops": throughput(dimensions), "bytes": bandwidth()}

    def dimensions(self) -> dict[str, int]:
        """The shape of the model."""
        return vars(Dimensions.of(self.model.config))

    def _ids(self, task: Forwarding) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        shape = (task.sequences, task.tokens)
        return torch.randint(0, self.model.config.vocab_size, shape, generator=generator)
