"""Likelihood: recorded token ids in, log-likelihood of each row's response under its setting out.

Teacher-forced: one forward pass reads prompt and response together, steered at the same tokens as
in generation, and nothing is sampled. Rows of any settings share a batch (`batches.py`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from traitsteer.engine.added import adding_by_block
from traitsteer.engine.batches import causal, fill
from traitsteer.engine.rows import Row, Steering, check_ids, check_row, no_numbers
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.shapes import Bool, Float, Int
from traitsteer.world.model.hooks import on_blocks
from traitsteer.world.model.inference import inference
from traitsteer.world.model.language_model import LanguageModel

_PIECE = 256
"""Tokens whose logits are held in float32 at once."""


@dataclass(frozen=True, eq=False)
class Told:
    """The token ids of a prompt and of what followed it, and the setting that they are read under.

    A text without a prompt has its first token (the tokenizer's BOS, where it adds one) as prompt.
    """

    id: str
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    steering: Steering | None = None

    @property
    def row(self) -> Row:
        """The prompt and its setting, as generation takes them."""
        return Row(self.prompt_ids, 0, self.steering)


@dataclass(frozen=True)
class Likelihood:
    """What the model gives the responses, in the order of the rows."""

    log_p: Float[Tensor, " n"]
    """Sum over the response tokens of ln p(token | all before it), float64."""
    tokens: Int[Tensor, " n"]
    """Response tokens."""


def log_likelihood(
    model: LanguageModel,
    rows: Sequence[Told],
    tokens: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Likelihood:
    """Log-likelihood of every row's response.

    Args:
        tokens: most tokens of one forward pass, padding included (a longer row runs alone);
            changes speed and memory, no result beyond rounding. Batches that do not fit are halved.
        progress: called with the number of rows that each batch finished.

    Raises:
        TraitsteerError: a prompt or a response is empty, a token id is none of the model's, a row
            is longer than the model can tell positions apart, a steering does not fit the model,
            one row alone is too large for the memory (the message names its id), its logits are
            not finite, or the model is no causal decoder.
    """
    for told in rows:
        check_row(model, told.id, told.row, len(told.response_ids))
        check_ids(model, told.id, told.response_ids)
        if not told.response_ids:
            raise TraitsteerError(f"{told.id} has no response token; leave this row out.")
    if not causal(model, model.layers):
        raise TraitsteerError(
            f"Tokens of {model.name} see those that follow them, so that one pass tells no "
            "likelihood of a text; use a causal decoder."
        )
    found = torch.zeros(len(rows), dtype=torch.float64)
    lengths = [len(row.prompt_ids) + len(row.response_ids) for row in rows]

    def run(places: Sequence[int], longest: int) -> Tensor:
        return _batch(model, [rows[place] for place in places], longest)

    with inference(model.model):
        fill(found, run, [row.id for row in rows], lengths, tokens, model.device, progress)
    for told, log_p in zip(rows, found.tolist(), strict=True):
        if not math.isfinite(log_p):
            raise no_numbers(model, told.row)
    return Likelihood(found, torch.tensor([len(row.response_ids) for row in rows]))


def _batch(model: LanguageModel, rows: Sequence[Told], width: int) -> Tensor:
    """Sums `[rows]` of one forward pass."""
    ids = torch.full((len(rows), width), model.pad_id)
    for place, row in enumerate(rows):
        whole = row.prompt_ids + row.response_ids
        ids[place, : len(whole)] = torch.tensor(whole)
    # Logits from the last token of the shortest prompt on; those of the padding go to waste. They
    # are named by position as `LAST_TOKEN` is.
    first = min(len(row.prompt_ids) for row in rows) - 1
    kept = torch.arange(first, width)
    inside = torch.stack([_steered_tokens(row, width) for row in rows])
    with on_blocks(model.blocks, adding_by_block([told.row.applied for told in rows], inside)):
        logits = model.model(
            input_ids=ids.to(model.device), use_cache=False, logits_to_keep=kept
        ).logits
    if logits.shape[1] != len(kept):
        # Some older decoders give the logits of all tokens, whatever they are asked for.
        logits = logits[:, first:]
    return torch.stack([_sum(row, logits[at], first) for at, row in enumerate(rows)])


def _sum(row: Told, logits: Float[Tensor, "kept vocabulary"], first: int) -> Float[Tensor, ""]:
    """Log-likelihood of one row from the logits of its batch, which begin at token `first`."""
    start = len(row.prompt_ids) - 1 - first
    own = logits[start : start + len(row.response_ids)]
    chosen = torch.tensor(row.response_ids, device=own.device)
    total = torch.zeros((), dtype=torch.float64, device=own.device)
    for piece, ids in zip(own.split(_PIECE), chosen.split(_PIECE), strict=True):
        exact = piece.float()
        log_p = exact.gather(1, ids[:, None])[:, 0] - exact.logsumexp(dim=1)
        total += log_p.double().sum()
    return total


def _steered_tokens(row: Told, width: int) -> Bool[Tensor, " width"]:
    """The tokens that the row's setting adds to; the padding after the row is none."""
    positions = row.steering.positions if row.steering else "all"
    prompt = len(row.prompt_ids)
    first = prompt if positions == "response" else 0
    end = prompt if positions == "prompt" else prompt + len(row.response_ids)
    tokens = torch.arange(width)
    return (tokens >= first) & (tokens < end)
