"""Attention masks of a decoding step, in the form that the model's attention takes."""

import torch
from torch import Tensor

from traitsteer.engine.attention import step_kernel
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.shapes import Int
from traitsteer.world.model.language_model import LanguageModel

_FULL, _SLIDING = "full_attention", "sliding_attention"


class StepMasks:
    """Makes the masks of a model: all earlier tokens of the row, or those within its window.

    Raises:
        TraitsteerError: the model has blocks that keep something other than keys and values, or
            an attention kernel that takes no mask.
    """

    def __init__(self, model: LanguageModel) -> None:
        config = model.model.config.get_text_config()
        self.window: int = getattr(config, "sliding_window", None) or 0
        named = getattr(config, "layer_types", None)
        self.kinds = set(named) if named else {_SLIDING if self.window else _FULL}
        if unknown := self.kinds - {_FULL, _SLIDING}:
            raise TraitsteerError(
                f"{model.name} has blocks of kind {', '.join(sorted(unknown))}, expected full or "
                "sliding attention; choose a model of another architecture, or set "
                "models.capture to false if it is true."
            )
        self.kernel = step_kernel(model)
        self.dtype = model.dtype

    def make(
        self, starts: Int[Tensor, " rows"], column: Int[Tensor, " 1"], first: int, stop: int
    ) -> Tensor | dict[str, Tensor]:
        """Masks `[rows, 1, 1, stop - first]` of the token in `column`; a dict if kinds differ."""
        columns = torch.arange(first, stop, device=starts.device)
        own = (columns >= starts[:, None]) & (columns <= column)
        masks = {}
        for kind in self.kinds:
            within = own & (columns > column - self.window) if kind == _SLIDING else own
            masks[kind] = self._in_form(within[:, None, None])
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _in_form(self, read: Tensor) -> Tensor:
        if self.kernel == "sdpa":
            return read
        lowest = torch.finfo(self.dtype).min
        return torch.zeros_like(read, dtype=self.dtype).masked_fill(~read, lowest)
