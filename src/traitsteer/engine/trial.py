"""Tries the engine on a model before it is relied on: its steered logits against plain passes.

The engine shares prompts between rows and keeps keys and values in buffers of its own. Both rest
on what blocks of `transformers` have in common, which an architecture may lack; so a few tokens
are run both ways, which takes less time than loading the weights did.
"""

import torch
from torch import Tensor

from traitsteer.engine.decoding import Added, Step
from traitsteer.engine.masks import StepMasks
from traitsteer.engine.prefill import prefill
from traitsteer.engine.rows import Row, Steering
from traitsteer.engine.slots import Slots
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.shapes import Float
from traitsteer.world.hooks import on_blocks
from traitsteer.world.language_model import LanguageModel

_LENGTHS = (3, 6)
_APART = {torch.float32: 1e-3}
"""Mean distance of logits that is taken for rounding, as a share of their spread."""
_APART_IN_SHORT = 0.3
"""In fewer bits, where rounding adds up and experts may be chosen otherwise."""


@torch.inference_mode()
def try_out(model: LanguageModel) -> None:
    """Run two prompts of different lengths, steered and not, and one token after each.

    Raises:
        TraitsteerError: the engine cannot run this model, or gives other logits than plain passes.
    """
    vocabulary = int(model.model.get_input_embeddings().weight.shape[0])
    prompts = [tuple((7 * at + 3) % vocabulary for at in range(size)) for size in _LENGTHS]
    layer = model.layers // 2
    vector = torch.randn(model.width, generator=torch.Generator().manual_seed(0))
    length = _norm(model, layer, prompts[0])
    steering = Steering(layer, vector / vector.norm(), length)
    rows = [Row(prompt, 0, each) for prompt in prompts for each in (None, steering)]
    token = 5 % vocabulary
    expected = torch.stack([_plain(model, row, token) for row in rows])
    try:
        # Prompts of one length and of several take different ways.
        alone, together = (_by_the_engine(model, some, token) for some in (rows[:2], rows))
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        said = " ".join(str(error).split())[:120]
        raise TraitsteerError(
            f"{type(model.model).__name__} cannot run with prompts shared between rows ({said}); "
            "choose a model of another architecture."
        ) from error
    found, expected = torch.cat([alone, together]), torch.cat([expected[:2], expected])
    apart = (found - expected).abs().mean(dim=-1) / expected.std(dim=-1)
    if not bool((apart <= _APART.get(model.dtype, _APART_IN_SHORT)).all()):
        raise TraitsteerError(
            f"Logits of {type(model.model).__name__} with prompts shared between rows differ from "
            f"those of a plain pass by {float(apart.max()):.2g} of their spread, expected none; "
            "choose a model of another architecture."
        )


def _norm(model: LanguageModel, layer: int, prompt: tuple[int, ...]) -> float:
    """L2 norm of the last token's activation."""
    seen: list[float] = []

    def measure(hidden: Tensor) -> None:
        seen.append(float(hidden[0, -1].float().norm()))

    with on_blocks(model.blocks, {layer: measure}):
        model.model(input_ids=torch.tensor([prompt], device=model.device), use_cache=False)
    return seen[0]


def _plain(model: LanguageModel, row: Row, token: int) -> Float[Tensor, "2 vocabulary"]:
    """Logits after the prompt and after the token, from one pass without a cache."""
    steering = row.steering
    ids = torch.tensor([[*row.prompt_ids, token]], device=model.device)

    def add(hidden: Tensor) -> Tensor | None:
        if steering is None:
            return None
        added = steering.coefficient * steering.vector.to(hidden.device)
        return (hidden.float() + added).to(hidden.dtype)

    with on_blocks(model.blocks, {steering.layer: add} if steering else {}):
        logits: Tensor = model.model(input_ids=ids, use_cache=False).logits
    return logits[0, -2:].float()


def _by_the_engine(
    model: LanguageModel, rows: list[Row], token: int
) -> Float[Tensor, "rows 2 vocabulary"]:
    """The same logits from shared prompts and a decoding step."""
    device, widest = model.device, max(len(row.prompt_ids) for row in rows)
    prompted = prefill(model, rows)
    slots = Slots(model.layers, len(rows), widest + 1, widest, device, False, [])
    slots.fill(0, prompted)
    starts = torch.tensor([widest - len(row.prompt_ids) for row in rows], device=device)
    tokens = torch.full((len(rows),), token, device=device)
    added = Added(model, rows, len(rows))
    added.fill(0, rows)
    step = Step(model, StepMasks(model), slots, tokens, starts, widest, False)
    with on_blocks(model.blocks, added.changes()):
        decoded = step.logits(len(rows))
    return torch.stack([prompted.logits.float(), decoded.float()], dim=1)
