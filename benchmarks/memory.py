"""Memory of this process in bytes, as Linux counts it; None where there is no such count."""

from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def reset_peak() -> int | None:
    """Forget the peak so far; returns what is resident now."""
    if not _CLEAR.exists():
        return None
    _CLEAR.write_text("5", encoding="ascii")
    return _read("VmRSS")


def peak() -> int | None:
    """The most that was resident since the last reset."""
    return _read("VmHWM") if _STATUS.exists() else None


def _read(field: str) -> int:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{_STATUS} has no line {field}; it is there on Linux.")
