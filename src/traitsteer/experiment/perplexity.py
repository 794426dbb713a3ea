"""Perplexity of neutral text with and without a vector: what steering does to everything else.

The text is read as it stands, without the chat template, by an instruct model too: it is no
conversation. Its first token (the BOS of most tokenizers) is given, all later ones are scored, and
all of them are steered, whichever tokens the study steers.

The perplexity of a text is exp of its mean negative log-likelihood per token. Texts are the
clusters, and everything is averaged over them in log space: perplexities are geometric means.
"""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from traitsteer.engine.likelihood import Told, log_likelihood
from traitsteer.engine.rows import Steering
from traitsteer.experiment.answering import Setting
from traitsteer.maths.statistics import paired_difference_interval
from traitsteer.words.records import Interval
from traitsteer.world.model.language_model import LanguageModel


def surprise(
    model: LanguageModel, texts: Sequence[str], settings: Sequence[Setting], tokens: int
) -> Tensor:
    """Mean negative log-likelihood per token, nats, `[settings, texts]`, float64.

    Args:
        tokens: most tokens of one forward pass.

    Raises:
        TraitsteerError: a text is one token or none, or does not fit into the memory.
    """
    ids = [model.encode(text, plain=True) for text in texts]
    rows = [
        Told(
            f"neutral text {number}",
            read[:1],
            read[1:],
            Steering(setting.layer, setting.vector, setting.coefficient, "all"),
        )
        for setting in settings
        for number, read in enumerate(ids, start=1)
    ]
    found = log_likelihood(model, rows, tokens)
    return (-found.log_p / found.tokens).view(len(settings), len(texts))


def side_effect(steered: Tensor, unsteered: Tensor, confidence: float) -> dict[str, Any]:
    """Perplexity under a vector and without, and their ratio, from the surprise `[texts]` of each.

    The ratio is exp of the mean difference, its limits exp of those of the paired difference.
    """
    after, before = (each[:, None].numpy() for each in (steered, unsteered))
    log = paired_difference_interval(after, before, confidence)
    lower, upper = (None if end is None else math.exp(end) for end in (log.lower, log.upper))
    return {
        "perplexity": round(math.exp(float(steered.mean())), 4),
        "baseline": round(math.exp(float(unsteered.mean())), 4),
        "ratio": Interval(math.exp(log.value), lower, upper, log.n).rounded(),
    }
