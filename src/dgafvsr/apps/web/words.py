"""Numbers as people read them."""

from __future__ import annotations

__all__ = ["bytes_text", "seconds_text"]


def bytes_text(size: int) -> str:
    """A number of bytes in the largest unit that leaves at least one: `4.2 MB`."""
    value = float(size)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def seconds_text(seconds: float) -> str:
    """A length of time: `2.50 s`, `1:02` (minutes) or `1:02:03` (hours)."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    minutes = f"{whole // 60 % 60:02d}:{whole % 60:02d}" if whole >= 3600 else f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{minutes}" if whole >= 3600 else minutes
