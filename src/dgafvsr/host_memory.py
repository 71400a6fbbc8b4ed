"""How the C library keeps the host's memory, where it is glibc: kept while networks run, given back between windows.

glibc asks the system for every large block and gives it back when it is freed. A network frees and asks for hundreds of
megabytes at each of its layers, so that on a CPU a third of the time goes into the system's clearing of pages that the
process had a moment ago. `benchmarks/allocator.py` measures it.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory", "return_freed_memory"]

# mallopt's parameters, from glibc's malloc.h.
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8
WITHOUT_LIMIT = 2**31 - 1


def keep_freed_memory() -> None:
    """Have this process keep what it frees for its next layer or frame, in one heap for all threads.

    For programs that are ours, or that want it: it holds for everything in the process, for good, and costs about a
    tenth more memory at the peak. Call it before the first network runs. Does nothing without glibc.

    Example:
        >>> keep_freed_memory()
        >>> pipe = DGAFVSRPipeline.from_pretrained()
    """
    library = _glibc()
    if library is not None:
        library.mallopt(MMAP_MAX, 0)
        library.mallopt(TRIM_THRESHOLD, WITHOUT_LIMIT)
        library.mallopt(ARENA_MAX, 1)


def return_freed_memory() -> None:
    """Give the system back what is free but kept by the allocator. Does nothing without glibc.

    Without it a long film would end with more memory than a short one: the heap keeps what the largest window, the
    reader, the writer and the encoder once held.
    """
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None
