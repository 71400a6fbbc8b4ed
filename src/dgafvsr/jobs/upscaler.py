"""What a job needs of a model; `DGAFVSRPipeline` fulfils it, and so does an exact stand-in of a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dgafvsr.sampling.seams import SeamState

__all__ = ["SCALE", "Upscaled", "Upscaler"]

SCALE = 4
"""Times that a model enlarges each side."""


class Upscaled(Protocol):
    """What an upscaler gives back."""

    @property
    def frames(self) -> Any:
        """T - tail pictures, 4H 4W 3 float in [0, 1]: a sequence, asked for each of them once, on any thread."""

    @property
    def state(self) -> SeamState | None:
        """For the next window of the shot; None where tail is 0."""


class Upscaler(Protocol):
    """A pipeline as jobs see it."""

    @property
    def device(self) -> Any:
        """Where it runs."""

    @property
    def default_steps(self) -> int:
        """Denoising steps when none are asked for."""

    @property
    def components(self) -> Mapping[str, Any]:
        """Its networks, scheduler and so on, by name."""

    @property
    def config(self) -> Mapping[str, Any]:
        """Its own settings, by name: with the components they tell one model from another."""

    def __call__(
        self,
        frames: NDArray[np.float32],
        *,
        num_inference_steps: int | None,
        seed: int,
        first_frame: int,
        guided: bool,
        state: SeamState | None,
        tail: int,
        tile: int | None,
        tile_overlap: int,
        output_type: Literal["lazy"] = "lazy",
        on_event: Callable[[Any], None],
        **sampling: Any,
    ) -> Upscaled:
        """The frames of one window at four times the size.

        Args:
            frames: T H W 3 float32 in [0, 1].
            num_inference_steps: denoising steps, None for the default.
            seed: of the noise.
            first_frame: index of frames[0] in the film; noise belongs to the index.
            guided: whether neighbouring frames guide each other.
            state: of the window before, None at the start of a shot. Its tail is the beginning of these frames.
            tail: frames at the end that are held back for the next window.
            tile: side of the tiles that the frames are sampled in, in LR pixels; None for whole frames.
            tile_overlap: LR pixels that neighbouring tiles share at least.
            output_type: the pictures may be decoded when they are asked for.
            on_event: called once for each (step, frame).
            sampling: what else is asked for, by the names that `DGAFVSRPipeline` has for it
                (`UpscaleSettings.sampling_options`); nothing unless somebody asks.
        """
