"""Layer l is the output of block l, pooled over recorded tokens; batches change nothing."""

import pytest
import torch
from tiny import OTHER, build

from traitsteer.engine.reading import Recorded, mean_residual_norm, pooled_activations
from traitsteer.maths.positions import Position
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.language_model import LanguageModel, load


def recorded(model: LanguageModel) -> list[Recorded]:
    texts = [("the cat", " sees a dog"), ("a", " runs"), ("never the big red dog", " not")]
    return [
        Recorded(f"item-{at}", model.encode(prompt), tuple(model.tokenizer(text)["input_ids"]))
        for at, (prompt, text) in enumerate(texts)
    ]


@torch.inference_mode()
def block_outputs(model: LanguageModel, item: Recorded) -> torch.Tensor:
    """[layers, tokens, width] from one unpadded pass; the last block is read before the norm."""
    seen = []
    handles = [
        block.register_forward_hook(
            lambda _m, _i, out: seen.append(out[0] if isinstance(out, tuple) else out)
        )
        for block in model.blocks
    ]
    out = model.model(
        torch.tensor([item.prompt_ids + item.response_ids]), output_hidden_states=True
    )
    for handle in handles:
        handle.remove()
    outputs = torch.stack(seen)[:, 0]
    for layer in range(model.layers - 1):
        assert torch.allclose(outputs[layer], out.hidden_states[layer + 1][0], atol=1e-5)
    return outputs


@pytest.mark.parametrize("kind", sorted(OTHER))
@pytest.mark.parametrize("text", ["response[:3]", "response[:]", "prompt[-1]"])
def test_pooled_activations_equal_a_plain_pass(kind: str, text: str, tmp_path) -> None:
    build(tmp_path, kind)
    model = load(str(tmp_path), chat=True, device="cpu")
    position = Position.parse(text)
    items = recorded(model)
    pooled = pooled_activations(model, items, position, batch_rows=3)
    for row, item in enumerate(items):
        tokens = position.select(len(item.prompt_ids), len(item.response_ids), item.id)
        expected = block_outputs(model, item)[:, list(tokens)].mean(dim=1)
        assert torch.allclose(pooled[row], expected, atol=1e-4, rtol=1e-4)


def test_batches_and_order_change_nothing(llama: LanguageModel) -> None:
    items, position = recorded(llama), Position.parse("response[:5]")
    together = pooled_activations(llama, items, position, 3)
    assert torch.allclose(pooled_activations(llama, items, position, 1), together, atol=1e-5)
    assert torch.allclose(
        pooled_activations(llama, items[::-1], position, 2).flip(0), together, atol=1e-5
    )


def test_mean_residual_norm_averages_over_response_tokens_alone(llama: LanguageModel) -> None:
    items = recorded(llama)
    norms = [block_outputs(llama, item)[:, len(item.prompt_ids) :].norm(dim=-1) for item in items]
    expected = torch.cat(norms, dim=1).mean(dim=1)
    assert torch.allclose(mean_residual_norm(llama, items, 2), expected, rtol=1e-4)


def test_an_empty_response_is_an_error_with_its_id(llama: LanguageModel) -> None:
    items = [*recorded(llama), Recorded("item-empty", llama.encode("the"), ())]
    with pytest.raises(TraitsteerError, match="item-empty"):
        pooled_activations(llama, items, Position.parse("response[:]"), 4)
    with pytest.raises(TraitsteerError, match=r"responses .* are empty"):
        mean_residual_norm(llama, items[-1:], 1)
