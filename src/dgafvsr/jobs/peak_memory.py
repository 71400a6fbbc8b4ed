"""The most memory that a job has held, as far as the system tells."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

__all__ = ["peak_memory_bytes", "reset_peak_memory"]


def reset_peak_memory(device: Any) -> None:
    """Start counting anew, where that can be done: on a CUDA device of this machine."""
    if _is_here(device):
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_bytes(device: Any) -> int:
    """CUDA: the allocator's peak since the reset; else the process's peak resident set so far, 0 where unknown."""
    if _is_here(device):
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0
    if sys.platform == "linux":
        return _high_water_mark()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def _is_here(device: Any) -> bool:
    """Whether it is a CUDA device that this process computes on; a cluster's workers have theirs elsewhere.

    Before the process has begun to, there is nothing to count, and torch refuses to.
    """
    if not str(device).startswith("cuda"):
        return False
    import torch

    return torch.cuda.is_initialized()


def _high_water_mark() -> int:
    """Of this program alone: Linux hands getrusage's number down to a child, which then starts at its parent's peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return 0
