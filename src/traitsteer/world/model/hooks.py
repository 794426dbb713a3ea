"""Hooks on a decoder: they live inside a context manager and are gone after an exception."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Change = Callable[[Tensor], Tensor | None]
"""Takes a block's output [rows, tokens, width]; returns its replacement, or None to leave it."""


def on_blocks(blocks: nn.ModuleList, changes: Mapping[int, Change]) -> AbstractContextManager[None]:
    """Call `changes[layer]` on the output of each named block while the context is open."""
    return _open(
        blocks[layer].register_forward_hook(_hook(change)) for layer, change in changes.items()
    )


@contextmanager
def _open(handles: Iterator[RemovableHandle]) -> Iterator[None]:
    """Register the hooks, one after the other, and remove those that were."""
    opened = []
    try:
        for handle in handles:
            opened.append(handle)
        yield
    finally:
        for handle in opened:
            handle.remove()


class _Enough(Exception):
    """Leaves a forward pass whose remaining blocks nobody needs."""


@contextmanager
def stopping_after(block: nn.Module) -> Iterator[None]:
    """End the one forward pass inside the context as soon as `block` has given its output.

    Changes by `on_blocks` on the same block still happen where that context was opened first. The
    pass has no result: the line that called the model is where the context ends.
    """

    def stop(*_arguments: object) -> None:
        raise _Enough

    handle = block.register_forward_hook(stop)
    try:
        yield
    except _Enough:
        pass
    finally:
        handle.remove()


def _hook(change: Change) -> Callable[..., Any]:
    def run(_module: nn.Module, _inputs: object, output: Any) -> Any:  # noqa: ANN401
        # Some architectures return a tuple or a list whose first entry is the residual stream.
        if not isinstance(output, tuple | list):
            return change(output)
        changed = change(output[0])
        if changed is None:
            return None
        rest = output[1:]
        return [changed, *rest] if isinstance(output, list) else (changed, *rest)

    return run


Inputs = Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]
"""Takes a block's arguments; returns those that it is called with."""


def before_blocks(
    blocks: nn.ModuleList, changes: Mapping[int, Inputs]
) -> AbstractContextManager[None]:
    """Pass the arguments of each named block through `changes[layer]` while the context is open."""
    return _open(
        blocks[layer].register_forward_pre_hook(_before(change), with_kwargs=True)
        for layer, change in changes.items()
    )


def _before(change: Inputs) -> Callable[..., Any]:
    def run(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        return change(args, kwargs)

    return run


Places = Callable[[int, int], Tensor]
"""(rows, tokens) of a batch -> places [n], int64, of some of its tokens, all rows in one line."""


def for_some_tokens(part: nn.Module, places: Places) -> AbstractContextManager[None]:
    """Run a part that takes one tensor `[rows, tokens, width]`, and gives one, for some tokens.

    While the context is open it is given these alone, `[1, n, width]`; the others get 0.
    """
    some = _Some(places)

    def handles() -> Iterator[RemovableHandle]:
        yield part.register_forward_pre_hook(some.taken)
        yield part.register_forward_hook(some.put_back)

    return _open(handles())


class _Some:
    def __init__(self, places: Places) -> None:
        self.places = places
        self.shape = torch.Size()
        self.at = torch.empty(0)

    def taken(self, _part: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        (hidden,) = inputs
        self.shape = hidden.shape
        self.at = self.places(*hidden.shape[:2]).to(hidden.device)
        return (hidden.flatten(0, 1).index_select(0, self.at)[None],)

    def put_back(self, _part: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        whole = output.new_zeros(self.shape)
        whole.flatten(0, 1).index_copy_(0, self.at, output[0])
        return whole
