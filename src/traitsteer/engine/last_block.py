"""The last block of a pass, run in full only for the tokens whose output is used.

What follows attention in a block is done to each token by itself, and no later block attends to
the others: its feed-forward part runs for the tokens that are pooled, or that give logits.
"""

from contextlib import AbstractContextManager, nullcontext
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from traitsteer.engine.batches import run_blocks
from traitsteer.words.shapes import Int
from traitsteer.world.model.hooks import Places, for_some_tokens, on_blocks
from traitsteer.world.model.language_model import LanguageModel

_ROUNDINGS = 4
"""Of the residual stream, which the order of summation may change."""
_APART = 0.05
"""Of what a part contributes to a token, taken for rounding too."""
_alone: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
"""Of the blocks met, whether their feed-forward part does to a token what it does among others."""


def looking_at(model: LanguageModel, layer: int, places: Places) -> AbstractContextManager[None]:
    """Run this block's feed-forward part for these places alone, where the block allows it.

    Elsewhere it gives 0, so that the output of the block there is no activation. The caller has
    inference mode on, and runs no later block.
    """
    block = model.blocks[layer]
    part = getattr(block, "mlp", None)
    if not isinstance(part, nn.Module):
        return nullcontext()
    if block not in _alone:
        _alone[block] = _does_the_same_alone(model, layer, part)
    return for_some_tokens(part, places) if _alone[block] else nullcontext()


def last_tokens(rows: int, tokens: int) -> Int[Tensor, " rows"]:
    """The places of the last column."""
    return torch.arange(tokens - 1, rows * tokens, tokens)


def _does_the_same_alone(model: LanguageModel, layer: int, part: nn.Module) -> bool:
    """Seen from small passes rather than believed.

    A part may take more than one input, give more than one output, or mix tokens, and a block may
    attend to what it gives. What differs beyond rounding is held against what the part contributes
    to the two tokens, since that may be little beside the residual stream.
    """
    ids, some = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 1]]), torch.tensor([1, 6])

    def output(changed: AbstractContextManager[None]) -> Tensor:
        seen: list[Tensor] = []

        def keep(hidden: Tensor) -> None:
            seen.append(hidden.flatten(0, 1)[some.to(hidden.device)].double())

        with changed:
            run_blocks(model, ids, None, {layer: keep})
        return seen[0]

    try:
        among = output(nullcontext())
        alone = output(for_some_tokens(part, lambda _rows, _tokens: some))
        without = output(on_blocks(nn.ModuleList([part]), {0: torch.zeros_like}))
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError):
        return False
    rounding = _ROUNDINGS * torch.finfo(model.dtype).eps * among.abs()
    beyond = ((among - alone).abs() - rounding).clamp_min(0).norm(dim=1)
    return bool((beyond <= _APART * (among - without).norm(dim=1)).all())
