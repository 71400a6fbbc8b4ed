"""Random degradation of whole clips in the manner of RealBasicVSR (Chan et al., CVPR 2022), seeded and repeatable.

Twice in a row: blur, resize, noise, JPEG, video codec; then antialiased bicubic to a quarter of the HR side. All
parameters are drawn once a clip and shared by its frames; only the noise itself differs from frame to frame. Unlike
RealBasicVSR: blur is gaussian (isotropic or not) without generalised and sinc kernels, parameters do not drift over
time, and the codec is MPEG-4 (part 2), which every FFmpeg has, with a fixed quantizer instead of a bit rate, so that
short clips suffer as long ones do.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import av
import cv2
import numpy as np
import torch
from av.video.stream import VideoStream
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dgafvsr.evaluation.degradations import SCALE, mirror
from dgafvsr.video.color import to_array, to_tensor, to_uint8

__all__ = ["Order", "degrade_realistic", "draw_orders"]

FRAME_RATE = 24


@dataclass(frozen=True, kw_only=True)
class Order:
    """The parameters of one round."""

    blur_sigmas: tuple[float, float]
    """Of the gaussian along its two axes, in pixels."""
    blur_angle: float
    """Of its first axis against the rows, in radians."""
    resize_factor: float
    """Of both sides, against the frames before."""
    resize_kernel: Literal["area", "bilinear", "bicubic"]
    """Of the resizing."""
    noise_kind: Literal["gaussian", "poisson"]
    """Gaussian: of one strength everywhere; Poisson: growing with the root of the brightness."""
    noise_sigma: float
    """Standard deviation in 8-bit levels; Poisson: at white."""
    jpeg_quality: int
    """1 to 100."""
    codec_quantizer: int
    """Of the video codec, the same for all pictures: 2 is best, 31 worst."""


def draw_orders(rng: np.random.Generator) -> tuple[Order, Order]:
    """The parameters of a clip: the second round is milder, as in RealBasicVSR."""
    return _draw(rng, strength=1.0), _draw(rng, strength=0.6)


def _draw(rng: np.random.Generator, *, strength: float) -> Order:
    first = float(rng.uniform(0.2, 2.4 * strength))
    second = first if rng.random() < 0.5 else float(rng.uniform(0.2, 2.4 * strength))
    low, high = ((1.0, 1.3), (0.6, 1.0), (1.0, 1.0))[int(rng.choice(3, p=(0.2, 0.7, 0.1)))]
    kernels: tuple[Literal["area", "bilinear", "bicubic"], ...] = ("area", "bilinear", "bicubic")
    return Order(
        blur_sigmas=(first, second),
        blur_angle=float(rng.uniform(0, math.pi)),
        resize_factor=float(rng.uniform(low, high)),
        resize_kernel=kernels[int(rng.integers(3))],
        noise_kind="gaussian" if rng.random() < 0.5 else "poisson",
        noise_sigma=float(rng.uniform(1, 20 * strength)),
        jpeg_quality=int(rng.integers(40, 96)),
        codec_quantizer=int(rng.integers(3, 3 + round(18 * strength))),
    )


def degrade_realistic(
    frames: Iterable[Tensor], *, seed: int | tuple[int, ...], video_codec: bool = True
) -> Iterator[Tensor]:
    """LR frames of a clip; of the frames only their coded form is held.

    Args:
        frames: each 1 3 4h 4w in [0, 1], all of one size.
        seed: of parameters and noise; a tuple is a seed too.
        video_codec: False leaves the codec out of both rounds, which saves training a third of the time.

    Yields:
        As many frames, each 1 3 h w in [0, 1] on 8-bit levels.
    """
    words = (seed,) if isinstance(seed, int) else seed
    orders = draw_orders(np.random.default_rng(words))
    size: list[int] = []

    def first(stream: Iterable[Tensor]) -> Iterator[Tensor]:
        for frame in stream:
            size[:] = [side // SCALE for side in frame.shape[-2:]]
            yield frame

    degraded: Iterator[Tensor] = first(frames)
    for round_index, order in enumerate(orders):
        rng = np.random.default_rng((*words, 1 + round_index))
        pictures = _degrade_pictures(degraded, order, rng)
        degraded = _code(pictures, order.codec_quantizer) if video_codec else (to_tensor(p[None]) for p in pictures)
    for frame in degraded:
        reduced = F.interpolate(frame, size=size, mode="bicubic", antialias=True, align_corners=False)
        yield (reduced.clamp(0, 1) * 255).round() / 255


def _degrade_pictures(frames: Iterable[Tensor], order: Order, rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Blur, resize, noise and JPEG: H W 3 uint8 each."""
    kernel = _gaussian(order)
    for frame in frames:
        blurred = F.conv2d(mirror(frame, kernel.shape[-1] // 2).transpose(0, 1), kernel).transpose(0, 1)
        resized = _resize(blurred, order)
        noise = torch.from_numpy(rng.standard_normal(resized.shape, dtype=np.float32)) * (order.noise_sigma / 255)
        if order.noise_kind == "poisson":
            noise = noise * resized.clamp(0, 1).sqrt()
        yield _jpeg(to_uint8(to_array(resized + noise)[0]), order.jpeg_quality)


def _gaussian(order: Order) -> Tensor:
    """1 1 K K, normalised, K odd."""
    radius = max(1, math.ceil(3 * max(order.blur_sigmas)))
    y, x = torch.meshgrid(*[torch.arange(-radius, radius + 1).float()] * 2, indexing="ij")
    cosine, sine = math.cos(order.blur_angle), math.sin(order.blur_angle)
    along, across = x * cosine + y * sine, y * cosine - x * sine
    weights = torch.exp(-0.5 * ((along / order.blur_sigmas[0]) ** 2 + (across / order.blur_sigmas[1]) ** 2))
    return (weights / weights.sum())[None, None]


def _resize(frame: Tensor, order: Order) -> Tensor:
    size = [max(2 * SCALE, round(side * order.resize_factor)) for side in frame.shape[-2:]]
    if order.resize_kernel == "area":
        return F.interpolate(frame, size=size, mode="area")
    return F.interpolate(frame, size=size, mode=order.resize_kernel, antialias=True, align_corners=False)


def _jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    ok, code = cv2.imencode(".jpg", np.ascontiguousarray(pixels[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.ascontiguousarray(decoded[:, :, ::-1], dtype=np.uint8)


def _code(pictures: Iterable[NDArray[np.uint8]], quantizer: int) -> Iterator[Tensor]:
    """The pictures through a video codec in memory: 1 3 H W in [0, 1] each, as many and as large as they were."""
    options = {"qmin": str(quantizer), "qmax": str(quantizer), "flags": "+bitexact"}
    buffer = io.BytesIO()
    count, size = 0, (0, 0)
    with av.open(buffer, "w", format="matroska", container_options={"fflags": "+bitexact"}) as container:
        stream: VideoStream | None = None
        for pixels in pictures:
            height, width = size = pixels.shape[:2]
            even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            if stream is None:
                stream = container.add_stream("mpeg4", rate=FRAME_RATE, options=options)
                stream.height, stream.width, stream.pix_fmt = even.shape[0], even.shape[1], "yuv420p"
                stream.codec_context.thread_count = 1
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
            count += 1
        if stream is not None:
            container.mux(stream.encode(None))
    if not count:
        return
    buffer.seek(0)
    decoded = 0
    with av.open(buffer, "r") as container:
        for picture in container.decode(video=0):
            decoded += 1
            yield to_tensor(picture.to_ndarray(format="rgb24")[None, : size[0], : size[1]])
    assert decoded == count, "the codec lost frames"
