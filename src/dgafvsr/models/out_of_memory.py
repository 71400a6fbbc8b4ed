"""Whether an error means that the memory is full; torch's libraries do not say it by a type."""

from __future__ import annotations

import torch

__all__ = ["is_out_of_memory"]

SIGNS = (
    "not enough memory",
    "out of memory",
    "can't allocate memory",
    "cannot allocate",
    "status_alloc_failed",  # cuBLAS and cuDNN, which allocate besides torch
    "unable to find an engine",  # cuDNN, where every way to compute a convolution wants more memory than there is
)
"""Words of a RuntimeError, in small letters, by which torch and its libraries say so."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory, on the device or on the host."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in words for sign in SIGNS)
