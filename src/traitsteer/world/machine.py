"""The machine in words, whose processor it has, and the memory that it lends."""

import ctypes
import os
import platform
import sys
from functools import cache
from pathlib import Path

_FROM_THE_SYSTEM = 1 << 26
"""Bytes from which memory is mapped for one result alone and unmapped with it."""
_KEPT = 1 << 28
"""Bytes that are kept."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of `mallopt`, from glibc's `malloc.h`."""


@cache
def keep_freed_memory() -> None:
    """From now on, some memory that this process has freed stays its own.

    The results of a forward pass are megabytes each. As it comes, glibc hands these back to the
    system as soon as they are freed, which maps and clears every page anew for the next: on a CPU
    a good part of the pass. Other allocators are left as they are.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, _FROM_THE_SYSTEM)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT)


@cache
def processor_of_intel() -> bool:
    """Whether Intel made the processor."""
    info = Path("/proc/cpuinfo")
    known = info.read_text(encoding="utf-8") if info.exists() else platform.processor()
    return "GenuineIntel" in known


def described() -> dict[str, str]:
    """Processor, cores and memory, as the system names them."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip()
            for line in info.read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ]
        model = names[0] if names else model
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": f"{model}, {os.cpu_count()} cores",
        "memory": f"{pages / 2**30:.0f} GiB",
    }
