"""The machine in words, and whose processor it has."""

import os
import platform
from functools import cache
from pathlib import Path


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
