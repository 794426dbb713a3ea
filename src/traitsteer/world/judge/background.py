"""An event loop in a thread of its own, for work that waits more than it computes."""

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Runs coroutines beside the caller; it ends when nobody holds it any more."""

    def __init__(self, last: Callable[[], Awaitable[None]]) -> None:
        """Start the thread; `last` is awaited before it ends, to close what was opened."""
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_run, args=(self._loop,), name="judge", daemon=True)
        thread.start()
        weakref.finalize(self, _end, self._loop, thread, last)

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin a coroutine; cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and wait for what it returns."""
        return self.begin(coroutine).result()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def _end(
    loop: asyncio.AbstractEventLoop,
    thread: threading.Thread,
    last: Callable[[], Awaitable[None]],
) -> None:
    async def close() -> None:
        await last()
        loop.stop()

    asyncio.run_coroutine_threadsafe(close(), loop)
    # The thread itself may be the one that let go last.
    if threading.current_thread() is not thread:
        thread.join(timeout=10)
