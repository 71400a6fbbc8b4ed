"""Seams: how the frames that two windows share become one.

Both windows have sampled them, from the same noise but with other neighbours, so their textures differ a little. The
earlier window holds its latents of the shared frames back (`hold_back`); the later one fades from those to its own
(`cross_fade`) and each shared frame is decoded once, from the mixture. benchmarks/seams.py compares policies.

What is held back is a small dictionary of CPU tensors, which safetensors stores and restores bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dgafvsr.errors import InputError

__all__ = ["SeamState", "check_state", "cross_fade", "hold_back"]

SeamState = dict[str, Tensor]
"""What a window hands to the next one of its shot."""


def hold_back(latents: Tensor, tail: int) -> SeamState | None:
    """What the next window needs to know of the last `tail` latents of N C h w; None for no tail."""
    return {"latents": latents[len(latents) - tail :].float().cpu().clone()} if tail else None


def cross_fade(latents: Tensor, state: Mapping[str, Tensor] | None) -> Tensor:
    """The latents of a window, N C h w, whose head fades from what the window before has held back to its own.

    Of H shared frames, frame k = 0 .. H - 1 has the share 3 a^2 - 2 a^3, a = (k + 1) / (H + 1), of this window: each
    window says least near its own border, where the sweeps have gathered guidance from one side only.
    """
    if state is None:
        return latents
    held = state["latents"].to(latents)
    head = len(held)
    position = torch.arange(1, head + 1, dtype=torch.float32) / (head + 1)
    share = (position**2 * (3 - 2 * position)).to(latents).view(-1, 1, 1, 1)
    return torch.cat([torch.lerp(held, latents[:head], share), latents[head:]])


def check_state(state: Mapping[str, Tensor] | None, frames: Tensor) -> int:
    """How many frames the window before has held back.

    Args:
        state: the `state` of its result, None for none.
        frames: of this call, T 3 h w.

    Raises:
        InputError: the state is of frames of another size, or of more frames than there are.
    """
    if state is None:
        return 0
    held = state.get("latents")
    if held is None or held.ndim != 4 or held.shape[-2:] != frames.shape[-2:] or len(held) > len(frames):
        raise InputError(
            "The state of the window before does not fit the frames",
            got="no latents" if held is None else tuple(held.shape),
            expected=f"up to {len(frames)} latents of {frames.shape[-1]} x {frames.shape[-2]}",
            remedy="pass the state that the call for the frames before returned",
        )
    return len(held)
