"""Transported noise: initial noise whose grain follows the motion instead of flickering or sticking to the screen.

Every grain of noise is born at some frame b of the film, at a place o of it; its value depends on (seed, b, o) alone. A
pixel of a later frame reads the grain that the flow since then leads to:

    o_k(p) = o_{k-1}(q) + (p + f_k(p) - q),  q = the pixel nearest to p + f_k(p)

with f_k the flow from frame k to frame k - 1 on the latent grid. The place is kept with its fraction, so slow motion
adds up; the grain that is read is the one at the nearest whole place, so no value is ever interpolated. A pixel gives
birth to a grain of its own where its motion comes from outside of the frame, or where another pixel of the frame reads
the same grain already (the one whose motion the opposite flow confirms goes first). So the grains of one frame are all
different, and each frame's noise is exactly white and Gaussian: the places depend on the film, not on the noise.

Frame k depends on the motion since its shot began. What carries that is the births and places of one frame, which the
window before hands on in its seam state; windows, batches, tiles and restarts then give the same noise. Windows that
share no frames hand nothing on: each begins like a shot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dgafvsr.errors import InputError
from dgafvsr.flow.fields import consistency_mask
from dgafvsr.flow.fm import BidirectionalFlows

__all__ = ["Grains", "NoiseTransport", "latent_flow"]

PLACE_BITS = 18
"""Of a whole place along one axis, the sign among them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Grains:
    """Which grain of noise every pixel of a frame reads."""

    birth: Tensor
    """h w int64: the frame of the film at which it was born, 0 to 2^26."""
    place: Tensor
    """2 h w float32: where, (x, y) in pixels of that frame; fractions have not moved the grain yet."""

    @classmethod
    def born(cls, frame: int, height: int, width: int) -> Grains:
        """Those of a frame at which a shot begins."""
        return cls(birth=torch.full((height, width), frame), place=_pixels(height, width))

    def carried(self, flow: Tensor, confirmed: Tensor, frame: int) -> Grains:
        """Those of the next frame.

        Args:
            flow: from that frame to this one, 2 h w in latent pixels.
            confirmed: h w bool, where the opposite flow says the same.
            frame: index of that frame in the film.
        """
        height, width = self.birth.shape
        pixels = _pixels(height, width)
        source = pixels + flow
        nearest = _whole(source)
        limit = torch.tensor([width - 1, height - 1]).view(2, 1, 1)
        inside = ((nearest >= 0) & (nearest <= limit)).all(0)
        column, row = torch.where(inside, nearest, 0).long()
        birth = self.birth[row, column]
        place = self.place[:, row, column] + (source - nearest)
        own = ~inside
        place = torch.where(own, pixels, place)
        birth = torch.where(own, frame, birth)
        own = _read_twice(_keys(birth, place), first=confirmed & inside)
        return Grains(birth=torch.where(own, frame, birth), place=torch.where(own, pixels, place))

    def draw(self, seed: int, channels: int) -> Tensor:
        """The noise itself: C h w float32, on the CPU."""
        keys = _keys(self.birth, self.place).numpy().astype(np.uint64)
        salt = hashlib.blake2b(f"{seed}/transported".encode(), digest_size=8).digest()
        stream = _mixed(keys ^ np.uint64(int.from_bytes(salt, "little")))
        pairs = [_normal_pair(stream, index) for index in range((channels + 1) // 2)]
        drawn = np.stack([half for pair in pairs for half in pair][:channels])
        return torch.from_numpy(drawn.astype(np.float32))


class NoiseTransport:
    """The initial noise of the windows of one shot, one after the other.

    Args:
        seed: the user's.
        state: what the window before has handed on (`state` of an earlier one); None where a shot begins.

    Raises:
        InputError: the state is of a run with other noise.
    """

    def __init__(self, seed: int, state: Mapping[str, Tensor] | None) -> None:
        self._seed = seed
        self._next: Grains | None = None
        if state is None:
            return
        if "noise_birth" not in state or "noise_place" not in state:
            raise InputError(
                "The state of the window before says nothing of its noise",
                got=", ".join(sorted(state)),
                expected="the state of a call with transported noise",
                remedy="pass the state that the call for the frames before returned, or choose other initial noise",
            )
        self._next = Grains(birth=state["noise_birth"][0].long(), place=state["noise_place"][0])

    def latents(self, flows: BidirectionalFlows, *, first_frame: int, tail: int, channels: int) -> Tensor:
        """Noise of a window's frames, N C h w float32 on the CPU.

        Args:
            flows: of the window on the latent grid (`latent_flow`), N-1 2 h w.
            first_frame: index of the window's first frame in the film.
            tail: frames at the window's end that the next window begins with.
            channels: C.
        """
        forward, backward = flows.forward.float().cpu(), flows.backward.float().cpu()
        frames = len(forward) + 1
        grains = self._next or Grains.born(first_frame, *forward.shape[-2:])
        self._next = None
        confirmed = consistency_mask(forward, backward)[:, 0] if frames > 1 else None
        drawn = [grains.draw(self._seed, channels)]
        for index in range(1, frames):
            assert confirmed is not None
            grains = grains.carried(forward[index - 1], confirmed[index - 1], first_frame + index)
            drawn.append(grains.draw(self._seed, channels))
            if index == frames - tail:
                self._next = grains
        return torch.stack(drawn)

    @property
    def state(self) -> dict[str, Tensor]:
        """What the next window needs, to be added to the seam state; nothing where no frames are shared."""
        if self._next is None:
            return {}
        return {"noise_birth": self._next.birth[None].int(), "noise_place": self._next.place[None].contiguous()}


def latent_flow(kept: Tensor, height: int, width: int) -> Tensor:
    """A flow on the latent grid: N 2 h w in latent pixels.

    Args:
        kept: what a guidance keeps of an N 2 4h 4w flow in HR pixels (`Guidance.keep`): samples of every cell,
            N 2 K h w in HR pixels, or a flow N 2 sh sw in pixels of its own grid.
        height: h.
        width: w.
    """
    if kept.ndim == 5:
        return kept.mean(dim=2) / 4
    return F.adaptive_avg_pool2d(kept, (height, width)) * (width / kept.shape[-1])


def _pixels(height: int, width: int) -> Tensor:
    """2 h w float32, (x, y) of every pixel."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([columns, rows]).float()


def _whole(place: Tensor) -> Tensor:
    """The nearest whole places; what is half a pixel up to rounding errors goes up everywhere, lest some meet."""
    return (place + 0.501).floor()


def _keys(birth: Tensor, place: Tensor) -> Tensor:
    """One number a grain, h w int64: birth and whole place."""
    half = 1 << (PLACE_BITS - 1)
    column, row = (_whole(place).long() + half).clamp(0, 2 * half - 1)
    return (((birth.long() << PLACE_BITS) | row) << PLACE_BITS) | column


def _read_twice(keys: Tensor, *, first: Tensor) -> Tensor:
    """Where a pixel has the key of another one, all but one of those, h w bool; `first` ones have the precedence."""
    order = torch.argsort((~first).flatten().to(torch.uint8), stable=True)
    ordered, position = torch.sort(keys.flatten()[order], stable=True)
    repeated = torch.zeros(len(ordered), dtype=torch.bool)
    repeated[1:] = ordered[1:] == ordered[:-1]
    result = torch.empty_like(repeated)
    result[order[position]] = repeated
    return result.view_as(keys)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64-bit numbers that scatters neighbours: splitmix64's (Steele, Lea, Flood, OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _normal_pair(stream: NDArray[np.uint64], index: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two independent standard normal numbers of every stream (Box and Muller), by index of the pair."""
    step = 0x9E3779B97F4A7C15  # splitmix64's, the golden ratio
    draws = [_mixed(stream + np.uint64((2 * index + k + 1) * step % 2**64)) for k in range(2)]
    radius, angle = (((draw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53 for draw in draws)
    radius = np.sqrt(-2 * np.log(radius))
    return radius * np.cos(2 * np.pi * angle), radius * np.sin(2 * np.pi * angle)
