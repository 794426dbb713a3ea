"""Progress of long work: a bar on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

LINE_SECONDS = 15.0

Advance = Callable[[int], None]
"""Told how many more units are done."""


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Advance]:
    """Yield a function that is told how many more units are done."""
    if sys.stderr.isatty():
        with tqdm(total=total, desc=title, unit=unit, dynamic_ncols=True) as bar:
            yield lambda done: _ignore(bar.update(done))
        return
    state = {"done": 0, "said": time.monotonic()}
    started = state["said"]

    def advance(done: int) -> None:
        state["done"] += done
        now = time.monotonic()
        if now - state["said"] >= LINE_SECONDS:
            state["said"] = now
            say(f"{title}: {state['done']} of {total} {unit}s, {now - started:.0f} s")

    yield advance
    say(f"{title}: {state['done']} {unit}s in {time.monotonic() - started:.1f} s")


def say(line: str) -> None:
    """Write one line of a plain log; results go to files, so the log goes to standard error."""
    print(line, file=sys.stderr, flush=True)


def _ignore(_value: object) -> None:
    return None
