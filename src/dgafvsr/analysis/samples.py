"""What the observations are measured on: a neighbour's feature, the current frame's, and the flow between them.

Two sources. Real clips: latents (or reduced frames) of neighbouring frames with estimated flow. Moving textures: band-
limited, periodic, moved by a known sub-pixel motion, so that the right answer is known everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dgafvsr.errors import InputError, UsageError
from dgafvsr.evaluation.degradations import reduce_bicubic
from dgafvsr.flow.estimator import FlowEstimator
from dgafvsr.flow.fm import RESCALING, upsample_frames
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.video.color import to_signed, to_tensor
from dgafvsr.video.reader import open_source

__all__ = [
    "ClipSettings",
    "Encoder",
    "WarpSample",
    "check_clips",
    "clip_samples",
    "encode_frame",
    "encode_latent",
    "lr_clips",
    "moving_textures",
]

Encoder = Callable[[Tensor, Tensor], Tensor]
"""HR frame 1 3 4h 4w and LR frame 1 3 h w, both in [0, 1] -> feature 1 C h w."""


@dataclass(frozen=True, kw_only=True)
class WarpSample:
    """A pair of features and the flow with which the current one reads its neighbour."""

    neighbor: Tensor
    """1 C h w float32."""
    current: Tensor
    """1 C h w float32."""
    flow: Tensor
    """1 2 4h 4w float32, (dx, dy) in HR pixels: current(p) ~ neighbor(p + flow(p))."""

    def __post_init__(self) -> None:
        height, width = self.neighbor.shape[-2:]
        assert self.current.shape == self.neighbor.shape
        assert self.flow.shape[1:] == (2, RESCALING * height, RESCALING * width)


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """Which part of a clip is used.

    Raises:
        UsageError: a number below its minimum.
    """

    max_frames: int | None = None
    """At most so many frames, from the clip's start, at least 2; None means all."""
    crop: int | None = None
    """Side of the central square in latent pixels, at least 16; None means the whole frame."""

    def __post_init__(self) -> None:
        if self.max_frames is not None and self.max_frames < 2:
            raise UsageError("Too few frames for neighbours", got=self.max_frames, expected="at least 2")
        if self.crop is not None and self.crop < 16:
            raise UsageError("The crop is too small", got=self.crop, expected="at least 16 latent pixels")

    def frames(self, clip: Path) -> Iterator[Tensor]:
        """The HR frames, each 1 3 4h 4w in [0, 1], cut from the middle to whole latent pixels.

        Raises:
            InputError: the clip cannot be read, has one frame, or is smaller than the crop.
        """
        count = 0
        with open_source(clip) as source:
            sides = [side // RESCALING for side in (source.info.height, source.info.width)]
            kept = sides if self.crop is None else [self.crop, self.crop]
            if min(sides) < max(16, self.crop or 0):
                raise InputError(
                    f"{clip} is too small to analyze",
                    got=f"{source.info.width}x{source.info.height}",
                    expected=f"at least {RESCALING * max(16, self.crop or 0)} pixels a side",
                )
            top, left = ((side - keep) // 2 * RESCALING for side, keep in zip(sides, kept, strict=True))
            for frame in source:
                if count == self.max_frames:
                    break
                cut = frame.pixels[top : top + RESCALING * kept[0], left : left + RESCALING * kept[1]]
                yield to_tensor(cut[None])
                count += 1
        if count < 2:
            raise InputError(f"{clip} has no neighbouring frames", got=f"{count} frame", expected="at least 2")


def check_clips(clips: Iterable[Path], settings: ClipSettings | None = None) -> None:
    """Read every frame that will be needed once, so that the last clip's damage is found before the first is sampled.

    Args:
        clips: folders of pictures or videos of HR frames.
        settings: which part of each clip; None takes all of it.

    Raises:
        InputError: a clip cannot be used; the message names it.
    """
    for clip in clips:
        for _ in (settings or ClipSettings()).frames(clip):
            pass


def encode_frame(hr: Tensor, lr: Tensor) -> Tensor:
    """The LR frame itself as a feature, in [-1, 1]: needs no model."""
    del hr
    return to_signed(lr)


def encode_latent(codec: LatentCodec) -> Encoder:
    """The latents of a model's encoder, scaled as its denoiser sees them."""

    @torch.no_grad()
    def encode(hr: Tensor, lr: Tensor) -> Tensor:
        device = codec.vae.device
        return codec.encode(to_signed(hr).to(device), to_signed(lr).to(device)).cpu()

    return encode


def clip_samples(
    clips: Iterable[Path], encoder: Encoder, estimator: FlowEstimator, settings: ClipSettings | None = None
) -> Iterator[WarpSample]:
    """Every pair of neighbouring frames, in both directions, one at a time: memory does not grow with the clips.

    LR frames are the bicubic reductions of the HR frames and flow is FM's: estimated on LR frames enlarged x4.

    Args:
        clips: folders of pictures or videos of HR frames.
        encoder: what the features are.
        estimator: of optical flow.
        settings: which part of each clip; None takes all of it.

    Raises:
        InputError: a clip cannot be used.
    """
    for clip in clips:
        before: tuple[Tensor, Tensor] | None = None
        for hr in (settings or ClipSettings()).frames(clip):
            lr = reduce_bicubic(hr)
            here = encoder(hr, lr).float(), upsample_frames(lr)
            if before is not None:
                for current, neighbor in ((here, before), (before, here)):
                    flow = estimator(current[1], neighbor[1]).cpu()
                    yield WarpSample(current=current[0], neighbor=neighbor[0], flow=flow)
            before = here


def lr_clips(clips: Iterable[Path], settings: ClipSettings | None = None) -> Iterator[Tensor]:
    """The clips as a model gets them: bicubic reductions of the HR frames, T 3 h w in [0, 1], one clip at a time.

    Args:
        clips: folders of pictures or videos of HR frames.
        settings: which part of each clip; None takes all of it.

    Raises:
        InputError: a clip cannot be used.
    """
    for clip in clips:
        yield torch.cat([reduce_bicubic(hr) for hr in (settings or ClipSettings()).frames(clip)])


def moving_textures(
    count: int, *, seed: int = 0, height: int = 32, width: int = 40, band: float = 0.25, motion_px: float = 2.0
) -> Iterator[WarpSample]:
    """Random periodic textures of 4 channels and their exactly moved copies.

    Args:
        count: how many.
        seed: of the textures and motions.
        height: rows of the feature.
        width: columns of the feature.
        band: highest radial frequency, in cycles a latent pixel, at most 0.5.
        motion_px: motions are uniform in [-motion_px, motion_px] latent pixels along each axis.
    """
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    inside = torch.hypot(rows, columns) <= band
    for _ in range(count):
        spectrum = torch.fft.rfft2(torch.randn(1, 4, height, width, generator=generator)) * inside
        dx, dy = ((2 * torch.rand(2, generator=generator) - 1) * motion_px).tolist()
        phase = torch.exp(2j * math.pi * (columns * dx + rows * dy))
        neighbor, current = (torch.fft.irfft2(part, s=(height, width)) for part in (spectrum, spectrum * phase))
        scale = neighbor.std()
        flow = torch.tensor([dx, dy]).view(1, 2, 1, 1) * RESCALING
        flow = flow.expand(1, 2, RESCALING * height, RESCALING * width).contiguous()
        yield WarpSample(neighbor=neighbor / scale, current=current / scale, flow=flow)
