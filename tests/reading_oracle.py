"""What reading must equal: the outputs of the blocks in one plain pass of one row."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from traitsteer.engine.reading import Recorded
from traitsteer.world.model.language_model import LanguageModel


@contextmanager
def watched(model: LanguageModel) -> Iterator[tuple[list[tuple[int, ...]], list[torch.Tensor]]]:
    """Shapes of the ids that enter the model, and outputs of the blocks that ran."""
    shapes: list[tuple[int, ...]] = []
    outputs: list[torch.Tensor] = []
    handles = [
        block.register_forward_hook(
            lambda _m, _i, out: outputs.append(out[0] if isinstance(out, tuple) else out)
        )
        for block in model.blocks
    ]
    embedding = model.model.get_input_embeddings()
    handles.append(embedding.register_forward_hook(lambda _m, i, _o: shapes.append(i[0].shape)))
    try:
        yield shapes, outputs
    finally:
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def block_outputs(model: LanguageModel, item: Recorded) -> torch.Tensor:
    """[layers, tokens, width] from one unpadded pass; the last block is read before the norm."""
    with watched(model) as (_, seen):
        out = model.model(
            torch.tensor([item.prompt_ids + item.response_ids], device=model.device),
            output_hidden_states=True,
        )
    outputs = torch.stack(seen)[:, 0]
    for layer in range(model.layers - 1):
        assert torch.allclose(outputs[layer], out.hidden_states[layer + 1][0], atol=1e-5)
    return outputs


def close(found: torch.Tensor, expected: torch.Tensor, share: float = 1e-5) -> bool:
    """Equal up to a share of the largest entry of each layer."""
    largest = expected.abs().amax(dim=-1, keepdim=True)
    return bool(((found - expected).abs() <= share * largest).all())
