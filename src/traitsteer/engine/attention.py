"""Attention of a decoding step, where reading keys and values takes the time.

The heads that share keys become queries of one head, so that nothing is copied for them: whether
`transformers` does so depends on its version.

On a CPU torch's kernel multiplies a matrix of one row for each head, which reads memory far below
its speed. There all heads of all rows are one batched product with the keys; the values are summed
as weighted rows of a table, for which torch carries a kernel that is compiled for the width
(FBGEMM). The numbers are the same up to the order of summation.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.shapes import Float
from traitsteer.world.model.inference import blas_at_home
from traitsteer.world.model.language_model import LanguageModel

PACKED, SUMMED = "traitsteer_packed", "traitsteer_summed"
"""The names of `attend_packed` and `attend_summed` among the kernels of `transformers`."""


def by_the_table(model: LanguageModel) -> bool:
    """Whether the architecture attends by the kernels that all of `transformers` share.

    They take masks as they are. Older architectures attend in their own ways, some with biases or
    masks that they cut to the number of keys.
    """
    module = sys.modules[type(model.model).__module__]
    return getattr(module, "ALL_ATTENTION_FUNCTIONS", None) is ALL_ATTENTION_FUNCTIONS


def step_kernel(model: LanguageModel) -> str:
    """The kernel of this model's decoding steps: one of those here, or the model's own.

    Raises:
        TraitsteerError: the model's own kernel takes no mask.
    """
    own: str = model.model.config.get_text_config()._attn_implementation
    if own not in ("sdpa", "eager"):
        raise TraitsteerError(
            f"{model.name} uses the attention kernel {own}, expected sdpa or eager; "
            "load it without attn_implementation."
        )
    if own != "sdpa" or not by_the_table(model):
        return own
    summed = (
        model.dtype == torch.float32
        and all(parameter.is_cpu for parameter in model.model.parameters())
        and "fbgemm" in torch.backends.quantized.supported_engines
    )
    return SUMMED if summed else PACKED


@contextmanager
def attending(model: LanguageModel, kernel: str) -> Iterator[None]:
    """Let the model attend by this kernel while the context is open."""
    config = model.model.config.get_text_config()
    own = config._attn_implementation
    try:
        config._attn_implementation = kernel
        yield
    finally:
        config._attn_implementation = own


def attend_packed(
    module: nn.Module,
    query: Float[Tensor, "rows heads 1 width"],
    key: Float[Tensor, "rows shared columns width"],
    value: Float[Tensor, "rows shared columns wide"],
    attention_mask: Float[Tensor, "#rows 1 1 columns"],
    scaling: float | None = None,
    **others: Any,  # noqa: ANN401 - what else an architecture passes
) -> tuple[Float[Tensor, "rows 1 heads wide"], None]:
    """Attend from the newest token of each row by torch's kernel, as `transformers` asks to.

    A key head serves `heads / shared` heads. The mask is added to the scores. A bias of positions
    or a soft cap, which this kernel does not know, goes to the one of `transformers`.
    """
    if others.get("position_bias") is not None or others.get("softcap") is not None:
        result: tuple[Tensor, None] = ALL_ATTENTION_FUNCTIONS["sdpa"](
            module, query, key, value, attention_mask, scaling=scaling, **others
        )
        return result
    (rows, heads, _, width), shared = query.shape, key.shape[1]
    queries = query.reshape(rows, shared, heads // shared, width)
    mask = attention_mask.to(query.dtype)
    sums = scaled_dot_product_attention(queries, key, value, attn_mask=mask, scale=scaling)
    return sums.reshape(rows, 1, heads, value.shape[3]), None


def attend_summed(
    module: nn.Module,
    query: Float[Tensor, "rows heads 1 width"],
    key: Float[Tensor, "rows shared columns width"],
    value: Float[Tensor, "rows shared columns wide"],
    attention_mask: Float[Tensor, "#rows 1 1 columns"],
    scaling: float | None = None,
    **others: Any,  # noqa: ANN401 - what else an architecture passes
) -> tuple[Float[Tensor, "rows 1 heads wide"], None]:
    """The same with float32 on a CPU by a product and a weighted sum.

    What this kernel does not know (a bias of positions, values that lie elsewhere than in `Slots`)
    goes to the other.
    """
    (rows, heads, _, width), (_, shared, columns, wide) = query.shape, value.shape
    size, rest = divmod(value.stride(1), wide)
    laid_out = value.stride() == (shared * size * wide, size * wide, wide, 1) and rest == 0
    if not laid_out or others.get("position_bias") is not None or others.get("softcap") is not None:
        return attend_packed(module, query, key, value, attention_mask, scaling, **others)
    queries = query.reshape(rows * shared, heads // shared, width)
    keys = key.flatten(0, 1)
    # Of a transposed view torch makes one product with the keys as they lie; which of the two ways
    # to write it reads them faster is a matter of the BLAS.
    scores = torch.bmm(queries, keys.mT) if blas_at_home() else torch.bmm(keys, queries.mT).mT
    scores = scores.reshape(rows, heads, columns)
    scores.mul_(width**-0.5 if scaling is None else scaling).add_(attention_mask[:, 0])
    weights = scores.softmax(dim=-1).view(rows * heads, columns)
    of_head = torch.arange(rows * shared, dtype=torch.int32)[:, None] * size
    places = (of_head + torch.arange(columns, dtype=torch.int32)).repeat_interleave(
        heads // shared, dim=0
    )
    table = value.as_strided(((rows * shared - 1) * size + columns, wide), (wide, 1))
    sums = embedding_bag(places, table, mode="sum", per_sample_weights=weights)
    return sums.view(rows, 1, heads, wide), None


AttentionInterface.register(PACKED, attend_packed)
AttentionInterface.register(SUMMED, attend_summed)
