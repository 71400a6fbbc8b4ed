"""Films for benchmarks that measure whole jobs, and a model that costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray

SHOT = 120


class Identity:
    """An `Upscaler` that repeats every pixel 4 x 4 times and hands its state on: what is left is the job itself."""

    device, default_steps = "cpu", 1

    def __init__(self) -> None:
        self.components: dict[str, Any] = {}
        self.config = {"name": "identity"}

    def __call__(self, frames: NDArray[np.float32], *, tail: int, **options: Any) -> SimpleNamespace:
        """The frames but the tail at four times the size, and the tail as the state."""
        kept = frames[: len(frames) - tail]
        state = {"latents": torch.from_numpy(frames[len(kept) :].copy())} if tail else None
        return SimpleNamespace(frames=kept.repeat(4, axis=1).repeat(4, axis=2), state=state)


def pictures(count: int, width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Noise over a moving gradient, with a cut every `SHOT` frames: H W 3 uint8."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    for index in range(count):
        shot = index // SHOT
        ramp = (x * (1 + shot % 3) + y * (1 + shot % 2) + 3 * index + 97 * shot) % 256
        noise = rng.integers(0, 24, (height, width, 3))
        yield np.clip(ramp[..., None] + noise, 0, 255).astype(np.uint8)


def write_film(path: Path, count: int, width: int, height: int) -> None:
    """A film of those pictures at 24 frames/s, stored losslessly."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        for picture in pictures(count, width, height):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
