"""Exact stand-ins for a model, and what tests do with films and folders of results."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from dgafvsr.video.reader import open_source
from tests.video.films import write_film

STEPS = 3
MILLISECOND = Fraction(1, 1000)


@dataclass
class Result:
    frames: np.ndarray
    state: dict | None


class Nearest:
    """An exact upscaler: every pixel four times. Keeps what it was asked for; can be made to fail.

    Its state is the shared frames themselves: it sees to it that a window gets the state of the one before it.
    """

    device = "cpu"
    default_steps = STEPS

    def __init__(self, *, spoil=None, name="nearest"):
        self.calls, self._spoil = [], spoil
        self.config, self.components = {"name": name}, {}

    def __call__(
        self,
        frames,
        *,
        num_inference_steps,
        seed,
        first_frame,
        guided,
        state,
        tail,
        tile,
        tile_overlap,
        output_type,
        on_event,
    ):
        self.calls.append((first_frame, len(frames), num_inference_steps, seed, guided))
        assert (frames.dtype, output_type) == (np.float32, "lazy")
        assert frames.min() >= 0
        assert frames.max() <= 1
        if state is not None:
            held = state["held"].numpy()
            np.testing.assert_array_equal(held, frames[: len(held)])
        for event in range((num_inference_steps or STEPS) * len(frames)):
            on_event(event)
        emitted = frames[: len(frames) - tail]
        result = enlarged(emitted)
        left = {"held": torch.from_numpy(frames[len(emitted) :].copy())} if tail else None
        return Result(self._spoil(result, first_frame) if self._spoil else result, left)


class Summing(Nearest):
    """An upscaler whose frames depend on every frame before them in the shot, through the state."""

    def __call__(self, frames, *, state, tail, **options):
        super().__call__(frames, state=None, tail=tail, **options)
        carried = 0.0 if state is None else float(state["mean"][0])
        mean = (carried + float(frames.mean())) / 2
        result = (enlarged(frames[: len(frames) - tail]) + mean) / 2
        return Result(result.astype(np.float32), {"mean": torch.full((tail,), mean)} if tail else None)


def enlarged(frames):
    """T H W C, each pixel four times as wide and high."""
    return np.asarray(frames).repeat(4, axis=1).repeat(4, axis=2)


def lossless(path, frames, **options):
    """A film that decodes to exactly these frames."""
    return write_film(path, frames, codec="ffv1", pixel_format="bgr0", **options)


def pixels_of(path):
    """T H W 3 of a film or folder."""
    with open_source(path) as source:
        return np.stack([frame.pixels for frame in source])


def job_of(target):
    """The job folder of an output."""
    return target.with_name(f".{target.name}.dgafvsr-job")
