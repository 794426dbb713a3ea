"""An event loop whose clock leaps over every wait."""

import asyncio
import selectors


class _Skipping(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list:
        # A little more, or a wait below the clock's resolution would never end.
        self.now += (timeout or 0.0) + 1e-9
        return super().select(0)


def skipping_loop() -> asyncio.SelectorEventLoop:
    """A loop that waits for nothing; its own `time` tells how long it would have taken."""
    selector = _Skipping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now
    return loop
