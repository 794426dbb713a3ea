"""One decoding step of all rows in their slots: the newest tokens in, the next logits out.

Where a GPU is, the step is captured as a CUDA graph: its launch costs as much as one kernel, and
the steering is part of it. A captured step has fixed shapes, so rows and columns are rounded up.
The first step of so many rows runs as it is, which loads the kernels that a capture must find.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from traitsteer.engine.attention import attending, by_the_table
from traitsteer.engine.masks import StepMasks
from traitsteer.engine.rows import Row
from traitsteer.engine.slots import Slots
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.shapes import Float, Int
from traitsteer.world.hooks import Change
from traitsteer.world.language_model import LanguageModel

_FEWEST = 128
"""Rows below which a captured step gets no smaller: reading the weights takes most of its time."""
_BLOCKS = ((256, 64), (64, 128), (0, 256))
"""With more than so many rows, what a captured step reads grows by so many columns."""


class Step:
    """The forward pass of a step; the caller holds the hooks that steer, and inference mode.

    `last` is the greatest position that any row's token can have.
    """

    def __init__(
        self,
        model: LanguageModel,
        masks: StepMasks,
        slots: Slots,
        tokens: Int[Tensor, " slots"],
        starts: Int[Tensor, " slots"],
        last: int,
        captured: bool,
    ) -> None:
        self.model, self.masks, self.slots = model, masks, slots
        self.tokens, self.starts, self.last = tokens, starts, last
        self.captured = captured
        self.graphs: dict[tuple[int, int], Callable[[], Tensor]] = {}
        self.met: set[int] = set()
        """How many rows a step had."""
        # One replay follows another and their results are used at once: they may share memory.
        on_gpu = captured and tokens.device.type == "cuda"
        self.pool = torch.cuda.graph_pool_handle() if on_gpu else None

    def logits(self, live: int) -> Float[Tensor, "live vocabulary"]:
        """Logits after the newest token of the first `live` rows; the cache grows by a column."""
        columns = self.slots.columns
        columns.write.fill_(columns.end)
        if self.captured:
            logits = self._replayed(live)[:live]
        else:
            columns.first, columns.stop = int(self.starts[:live].min()), columns.end + 1
            logits = self._forward(live)
        columns.end += 1
        return logits

    def _replayed(self, live: int) -> Tensor:
        # A capture costs more than many a replay: rows halve when half of them have left, and
        # columns come in blocks, smaller where more rows would read them in vain.
        rows, columns = self.slots.slots, self.slots.columns
        while rows // 2 >= max(live, _FEWEST):
            rows //= 2
        # A slot without a row reads what lies in it, so that nothing becomes NaN.
        self.starts[live:rows].zero_()
        block = next(columns for above, columns in _BLOCKS if rows > above)
        stop = min(-(-(columns.end + 1) // block) * block, columns.size)
        columns.first, columns.stop = 0, stop
        shape, forward = (rows, stop), functools.partial(self._forward, rows)
        if rows not in self.met:
            self.met.add(rows)
            return forward()
        if shape not in self.graphs:
            self.graphs[shape] = captured(forward, self.tokens.device, self.pool)
        return self.graphs[shape]()

    def _forward(self, rows: int) -> Tensor:
        starts, columns = self.starts[:rows], self.slots.columns
        with attending(self.model, self.masks.kernel):
            logits: Tensor = self.model.model(
                input_ids=self.tokens[:rows, None],
                attention_mask=self.masks.make(starts, columns.write, columns.first, columns.stop),
                position_ids=(columns.write - starts).clamp_max(self.last)[:, None],
                past_key_values=self.slots,
                use_cache=True,
                logits_to_keep=1,
            ).logits
        return logits[:, -1]


def capturable(model: LanguageModel) -> bool:
    """Whether steps are captured unless someone says otherwise: on one GPU.

    Not where layers read numbers back (bitsandbytes in 8 bits), or where attention may not expect
    columns that are not yet written.
    """
    devices = {parameter.device for parameter in model.model.parameters()}
    on_one_gpu = len(devices) == 1 and model.device.type == "cuda"
    reads_back = getattr(model.model, "is_loaded_in_8bit", False)
    return on_one_gpu and by_the_table(model) and not reads_back


def captured(
    forward: Callable[[], Tensor],
    device: torch.device,
    pool: Any,  # noqa: ANN401 - torch names no type for it
) -> Callable[[], Tensor]:
    """Return a function that does what `forward` does, as one replayed CUDA graph.

    `forward` has run before. On a device without graphs it is returned itself, so that the fixed
    shapes can be tested.

    Raises:
        TraitsteerError: the model does something that a graph cannot hold.
    """
    if device.type != "cuda":
        return forward
    graph = torch.cuda.CUDAGraph()
    try:
        # A capture sees its stream alone, and a stream belongs to one GPU. The outer one is there
        # again after a capture that failed. The judge's thread may use the GPU meanwhile.
        with (
            torch.cuda.device(device),
            torch.cuda.stream(torch.cuda.current_stream(device)),
            torch.cuda.graph(
                graph, pool=pool, stream=_stream(device), capture_error_mode="thread_local"
            ),
        ):
            result = forward()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        # The driver needs memory for a graph beside that of torch.
        if "out of memory" in str(error):
            raise torch.OutOfMemoryError(str(error)) from error
        raise TraitsteerError(
            f"A decoding step cannot be captured as a CUDA graph ({str(error).splitlines()[0]}); "
            "set models.capture to false."
        ) from error

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One for all captures on this GPU: each would keep a workspace of cuBLAS."""
    return torch.cuda.Stream(device)


class Added:
    """What each row's setting adds to its newest token, `[slots, width]` for each steered block."""

    def __init__(self, model: LanguageModel, rows: Sequence[Row], slots: int) -> None:
        steered = {s.layer for row in rows if (s := row.steered("response"))}
        self.of_block = {
            layer: torch.zeros(slots, model.width, device=_device_of(model, layer))
            for layer in sorted(steered)
        }

    def fill(self, first: int, rows: Sequence[Row]) -> None:
        """Take over the settings of new rows, from slot `first` on."""
        steered = [(at, s) for at, row in enumerate(rows) if (s := row.steered("response"))]
        for layer, added in self.of_block.items():
            own = [(at, s) for at, s in steered if s.layer == layer]
            added[first : first + len(rows)] = 0
            if own:
                places = torch.tensor([first + at for at, _ in own], device=added.device)
                sums = torch.stack([s.coefficient * s.vector.float() for _, s in own])
                added[places] = sums.to(added.device)

    def move(self, source: Int[Tensor, " n"], target: Int[Tensor, " n"]) -> None:
        """Copy settings into other slots."""
        for added in self.of_block.values():
            added[target.to(added.device)] = added[source.to(added.device)]

    def changes(self) -> dict[int, Change]:
        """For each steered block, what adds to its output."""
        return {layer: functools.partial(_steer, added) for layer, added in self.of_block.items()}


def _device_of(model: LanguageModel, layer: int) -> torch.device:
    return next(model.blocks[layer].parameters()).device


def _steer(added: Tensor, hidden: Tensor) -> Tensor:
    """Add to the newest token of each row what its setting adds at this block, in place."""
    # The sum is formed in float32, so that a small coefficient is not lost to bf16.
    return hidden.add_(added[: len(hidden), None])
