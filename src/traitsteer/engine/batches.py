"""Recorded rows in batches: the longest first, within a budget of tokens, padded on the right.

In a causal decoder nothing that follows changes a token, so that padding on the right needs no
attention mask; `causal` sees whether the model at hand is one.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from traitsteer.words.errors import TraitsteerError
from traitsteer.world.model.blocks import decoder_of
from traitsteer.world.model.hooks import Change, on_blocks, stopping_after
from traitsteer.world.model.inference import told_by_the_host
from traitsteer.world.model.language_model import LanguageModel

_OF_A_THREAD = 512
"""Tokens of a pass for each thread of a CPU: what comes of more leaves the core's cache."""


def fill(
    found: Tensor,
    run: Callable[[Sequence[int], int], Tensor],
    names: Sequence[str],
    lengths: Sequence[int],
    tokens: int,
    device: torch.device,
    progress: Callable[[int], None],
) -> None:
    """Fill `found [n, ...]` by batches of its rows; one that does not fit into memory is halved.

    Args:
        run: the results `[rows, ...]` of the rows at these places, whose longest has so many
            tokens, in one forward pass.
        names: of the rows, for the message.
        lengths: tokens of the rows.
        tokens: most tokens of one batch, padding included (a longer row runs alone), and on a CPU
            no more than its threads are quickest with; changes speed and memory, no result beyond
            rounding.
        device: where the batches run, for the message.
        progress: called with the number of rows that each batch finished.

    Raises:
        TraitsteerError: one row alone is too large for the memory.
    """
    # The longest rows come first, and with them the batch that needs the most memory.
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    if device.type == "cpu":
        tokens = min(tokens, _OF_A_THREAD * torch.get_num_threads())
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        places = order[start : start + max(1, tokens // longest)]
        results = _unless_too_large(run, places, longest)
        if results is not None:
            found[places] = results
            start += len(places)
            progress(len(places))
        elif len(places) == 1:
            raise TraitsteerError(
                f"{names[places[0]]}: its {longest} tokens do not fit into the memory of {device} "
                "as a batch of one; leave this row out or use a larger device."
            )
        else:
            tokens = len(places) * longest // 2


def _unless_too_large(
    run: Callable[[Sequence[int], int], Tensor], places: Sequence[int], longest: int
) -> Tensor | None:
    try:
        with told_by_the_host():
            return run(places, longest).cpu()
    except torch.OutOfMemoryError:
        return None


def run_blocks(
    model: LanguageModel,
    ids: Tensor,
    mask: Tensor | None,
    seen: Mapping[int, Change],
) -> None:
    """One forward pass of ids `[rows, tokens]` as far as the last block that is seen."""
    with on_blocks(model.blocks, seen), stopping_after(model.blocks[max(seen)]):
        decoder_of(model.model, model.blocks)(
            input_ids=ids.to(model.device),
            attention_mask=None if mask is None else mask.to(model.device),
            use_cache=False,
        )


@torch.inference_mode()
def causal(model: LanguageModel, layers: int) -> bool:
    """Whether, without a mask, what follows a token leaves its activations as they are.

    Seen from one small pass rather than believed: two rows that differ after their first token.

    Raises:
        TraitsteerError: blocks give something else than one activation for each token.
    """
    ids = torch.zeros(2, 4, dtype=torch.long)
    ids[1, 1:] = 1
    same = True

    def compare(hidden: Tensor) -> None:
        nonlocal same
        if hidden.shape[:2] != ids.shape:
            # Tokens of its own before those of a text (CPM-Ant), or several streams (ProphetNet).
            raise TraitsteerError(
                f"A block of {model.name} gives {list(hidden.shape)} for {list(ids.shape)} tokens, "
                "expected one activation for each; choose a model of another architecture."
            )
        one, other = hidden[:, 0].double()
        rounding = 8 * torch.finfo(hidden.dtype).eps * one.abs().max()
        # What is not finite tells nothing, and is told of where it is read.
        same = same and not bool(((one - other).abs() > rounding).any())

    run_blocks(model, ids, None, dict.fromkeys(range(layers), compare))
    return same
