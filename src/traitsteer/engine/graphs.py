"""Decoding steps as CUDA graphs: where they can be captured, and the capture."""

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from traitsteer.engine.attention import by_the_table
from traitsteer.words.errors import TraitsteerError
from traitsteer.world.model.language_model import LanguageModel


def capturable(model: LanguageModel) -> bool:
    """Whether steps are captured unless someone says otherwise: on one GPU.

    Not where layers read numbers back (bitsandbytes in 8 bits), or where attention may not expect
    columns that are not yet written.
    """
    devices = {parameter.device for parameter in model.model.parameters()}
    on_one_gpu = len(devices) == 1 and model.device.type == "cuda"
    reads_back = getattr(model.model, "is_loaded_in_8bit", False)
    return on_one_gpu and by_the_table(model) and not reads_back


class Uncapturable(TraitsteerError):
    """The model does something that a graph cannot hold."""

    def __init__(self, model: LanguageModel, reason: str) -> None:
        what = reason.splitlines()[0]
        super().__init__(
            f"Steps of {model.name} cannot be captured as a CUDA graph ({what}); set "
            "models.capture to false."
        )


@contextmanager
def nothing_read_back(model: LanguageModel) -> Iterator[None]:
    """Refuse steps that wait for the GPU, while no graph is begun.

    A capture that fails leaves torch's allocator and generator as if it went on. The switch is one
    for all threads: not for when a judge uses the GPU.

    Raises:
        Uncapturable: something was read back, or brought along.
    """
    if model.device.type != "cuda":
        yield
        return
    own = torch.cuda.get_sync_debug_mode()
    try:
        with warnings.catch_warnings():
            # That not all waits are seen: those that are missed fail the capture.
            warnings.simplefilter("ignore", UserWarning)
            torch.cuda.set_sync_debug_mode("error")
        yield
    except RuntimeError as error:
        if "synchronizing" not in str(error):
            raise
        raise Uncapturable(model, str(error)) from error
    finally:
        torch.cuda.set_sync_debug_mode(own)


def captured(
    forward: Callable[[], Tensor],
    model: LanguageModel,
    pool: Any,  # noqa: ANN401 - torch names no type for it
) -> Callable[[], Tensor]:
    """Return a function that does what `forward` does, as one replayed CUDA graph.

    `forward` has run before. On a device without graphs it is returned itself, so that the fixed
    shapes can be tested.

    Raises:
        Uncapturable: the model does something that a graph cannot hold.
    """
    device = model.device
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
        raise Uncapturable(model, str(error)) from error

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One for all captures on this GPU: each would keep a workspace of cuBLAS."""
    return torch.cuda.Stream(device)
