"""How much memory a model needs while it answers: arithmetic on counts, in bytes.

    weights   every parameter once, at its own width
    cached    keys and values: rows x columns x (key width + value width of all layers), and the
              state of each row where blocks keep one
    passing   what one forward pass holds at a time, and the logits of the rows

Weights are exact, and so is cached but for the columns that the engine keeps spare; passing is what
implementations are seen to hold, rounded upwards.
"""

from bisect import bisect_right
from dataclasses import dataclass, replace

HOLD = 6
"""Copies of the residual stream and of the widest inner layer that a pass holds at a time."""
CHOOSING = 32
"""Bytes a logit while a token is chosen: float32 and sorted copies, indices, float64 sums."""
SPARE = 1.1
"""Memory comes in blocks, and what was freed lies in between."""
GIB = 2**30
_ENOUGH = 16
"""Rows from which smaller passes are worth no further row."""


@dataclass(frozen=True)
class Sizes:
    """The counts of a model that its memory depends on."""

    weights: int
    """Bytes of all parameters, tied ones once."""
    width: int
    inner: int
    """Width of the widest layer within a block."""
    cached_width: int
    """Numbers that all blocks keep for one token: their keys and their values."""
    vocabulary: int
    bytes_each: int
    """Of one number of the residual stream."""
    state: int = 0
    """Bytes that all blocks keep for one row, however many tokens it has, as linear attention does;
    of numbers in float32."""


@dataclass(frozen=True)
class Load:
    """What is asked of the model at a time."""

    rows: int
    columns: int
    """Prompt and response tokens of the longest row."""
    tokens: int
    """Most tokens of one pass over prompts or recorded responses."""


@dataclass(frozen=True)
class Footprint:
    """What a model needs for a load, in bytes."""

    sizes: Sizes
    load: Load
    beside: int = 0
    """Bytes of the weights of another model that stays on the same device."""

    @property
    def weights(self) -> int:
        """All parameters."""
        return self.sizes.weights

    @property
    def cached(self) -> int:
        """Keys and values of all rows, and what else blocks keep of the past."""
        of_token = self.sizes.cached_width * self.sizes.bytes_each
        return self.load.rows * (self.load.columns * of_token + self.sizes.state)

    @property
    def passing(self) -> int:
        """The larger of a pass over prompts and of a step of all rows, with the logits."""
        sizes, load = self.sizes, self.load
        tokens = max(load.tokens, load.columns, load.rows)
        held = tokens * (sizes.width + sizes.inner) * HOLD * sizes.bytes_each
        return held + load.rows * sizes.vocabulary * (CHOOSING + sizes.bytes_each)

    @property
    def total(self) -> int:
        """Everything, with some to spare."""
        return round(SPARE * (self.weights + self.beside + self.cached + self.passing))

    def rows_that_fit(self, free: int) -> int:
        """Most rows, of those asked for, whose total is no more than `free` bytes; 0 if none."""
        # The total rises with the rows.
        return bisect_right(range(1, self.load.rows + 1), free, key=lambda n: self._of(n).total)

    def tokens_that_fit(self, free: int) -> int:
        """Most tokens of a pass, by halving those asked for, with which `_ENOUGH` rows fit, or as
        many as with the fewest; 0 if none do.
        """
        tokens = self.load.tokens
        most = self.with_tokens(0).rows_that_fit(free)
        while tokens and self.with_tokens(tokens).rows_that_fit(free) < min(_ENOUGH, most):
            tokens //= 2
        return tokens if most else 0

    def with_tokens(self, tokens: int) -> "Footprint":
        """The same with another number of tokens in a pass."""
        return replace(self, load=replace(self.load, tokens=tokens))

    def _of(self, rows: int) -> "Footprint":
        return replace(self, load=replace(self.load, rows=rows))
