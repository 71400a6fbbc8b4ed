"""Where randomness comes from: every draw belongs to a frame and a step, not to a moment.

`KeyedNoise` derives each generator from (seed, frame index, step), so a frame starts from the same noise whichever
window, batch or restart it is sampled in. `SequentialNoise` draws everything from one generator in the order the
authors' code does; it exists to reproduce that code and depends on the clip's length.

Draws are made on the CPU in float32: the same numbers on every device.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

__all__ = ["InitialNoise", "KeyedNoise", "NoiseSource", "SequentialNoise", "initial_latents"]

InitialNoise = Literal["independent", "shared", "transported"]
"""Whether every frame starts from noise of its own (the paper), all frames of a shot from the same, or each from noise
that the motion has carried there from the frame before (`dgafvsr.sampling.transport`)."""


class NoiseSource(Protocol):
    """Gives the generator that a draw must use."""

    def initial(self, frame: int) -> torch.Generator:
        """Generator of a frame's initial latent z_T; frames are asked for in ascending order."""
        ...

    def step(self, step: int, frame: int) -> torch.Generator:
        """Generator of a stochastic scheduler's noise at (step, frame), asked for in sampling order."""
        ...


@dataclass(frozen=True, kw_only=True)
class KeyedNoise:
    """Noise that depends only on (seed, frame index, step).

    Args:
        seed: the user's seed.
        first_frame: index of the window's first frame in the shot.
        initial_noise: `independent` is the paper's; `shared` flickers less, but its grain stays put on the screen.
            Transported noise is no function of the frame's index: `NoiseTransport` makes it, and this source only
            draws the steps'.
    """

    seed: int
    first_frame: int = 0
    initial_noise: InitialNoise = "independent"

    def initial(self, frame: int) -> torch.Generator:
        """See `NoiseSource.initial`."""
        return self.generator("initial", -self.first_frame if self.initial_noise == "shared" else frame)

    def step(self, step: int, frame: int) -> torch.Generator:
        """See `NoiseSource.step`."""
        return self.generator("step", frame, step)

    def generator(self, purpose: str, frame: int, step: int = 0) -> torch.Generator:
        """A CPU generator of its own for every (purpose, frame, step)."""
        key = f"{self.seed}/{purpose}/{step}/{self.first_frame + frame}".encode()
        digest = hashlib.blake2b(key, digest_size=8).digest()
        return torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little") >> 1)


@dataclass(frozen=True)
class SequentialNoise:
    """One generator for everything, in the authors' order: initial latents by frame, then one draw a visit.

    Args:
        generator: a CPU generator; it is advanced by sampling.
    """

    generator: torch.Generator

    def initial(self, frame: int) -> torch.Generator:
        """See `NoiseSource.initial`."""
        del frame
        return self.generator

    def step(self, step: int, frame: int) -> torch.Generator:
        """See `NoiseSource.step`."""
        del step, frame
        return self.generator


def initial_latents(noise: NoiseSource, frames: int, shape: tuple[int, int, int]) -> Tensor:
    """Unit-variance initial latents of a clip: N C h w float32 on the CPU."""
    draws = [torch.randn(1, *shape, generator=noise.initial(frame)) for frame in range(frames)]
    return torch.cat(draws)
