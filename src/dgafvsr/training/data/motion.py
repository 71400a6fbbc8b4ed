"""Sequences with exactly known flow, from still photographs: a moving camera and objects moving by themselves.

Every layer (background, object) moves by a homography M per frame, in pixel coordinates p = (x, y) of the frame:

    frame_{k+1}(M p) = frame_k(p)          hence     flow_to_previous_k(p) = M^{-1} p - p

    frame_k(M^{-1} p) = frame_{k+1}(p)     hence     flow_to_next_k(p) = M p - p

The last frame is the reference: it is a copy of photograph pixels, never interpolated, so the training target is sharp;
the frames before it are resampled (Lanczos). Covered and uncovered places, where no flow can be right, keep the flow of
the layer that is seen, as in any real flow field.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dgafvsr.errors import UsageError
from dgafvsr.training.data.blobs import Picture

__all__ = ["MotionRanges", "MotionSequence", "draw_motion", "draw_silhouette", "move"]

Homography = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class MotionRanges:
    """Largest motions per frame; each draw is between nothing and these, small motion being more frequent."""

    shift_px: float = 14.0
    """Translation in HR pixels."""

    rotation_degrees: float = 1.5
    zoom: float = 0.02
    """Relative change of scale."""

    tilt: float = 4e-5
    """Perspective terms, per HR pixel."""

    object_share: float = 0.5
    """Share of sequences with an object that moves by itself, 0 to 1."""

    still_share: float = 0.1
    """Share of layers that do not move, 0 to 1."""

    def __post_init__(self) -> None:
        for name in ("shift_px", "rotation_degrees", "zoom", "tilt", "object_share", "still_share"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is out of range", got=getattr(self, name), expected="0 or more")


@dataclass(frozen=True, kw_only=True)
class MotionSequence:
    """Frames and the flow between them."""

    frames: NDArray[np.uint8]
    """T S S 3 RGB; the last one is the reference."""

    flow_to_previous: NDArray[np.float32]
    """T-1 2 S S, (dx, dy) in pixels: frame_{k+1}(p) ~ frame_k(p + flow_k(p))."""

    flow_to_next: NDArray[np.float32]
    """T-1 2 S S, (dx, dy) in pixels: frame_k(p) ~ frame_{k+1}(p + flow_k(p))."""


def draw_motion(rng: np.random.Generator, ranges: MotionRanges, side: int) -> Homography:
    """A random motion per frame about the middle of a side x side frame: 3 x 3, maps p of one frame to the next."""
    if rng.random() < ranges.still_share:
        return np.eye(3)
    strength = rng.random() ** 2
    direction, angle = rng.uniform(0, 2 * np.pi), np.deg2rad(ranges.rotation_degrees) * rng.uniform(-1, 1) * strength
    shift = ranges.shift_px * strength * np.array([np.cos(direction), np.sin(direction)])
    scale = 1 + ranges.zoom * rng.uniform(-1, 1) * strength
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    motion = np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]], [0, 0, 1]])
    motion[2, :2] = ranges.tilt * rng.uniform(-1, 1, 2) * strength
    middle = _translation((side - 1) / 2)
    return middle @ motion @ np.linalg.inv(middle)


def draw_silhouette(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """A random blob with a soft edge of about 2 px: side x side in [0, 1]."""
    centre = rng.uniform(0.25, 0.75, 2) * side
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radii = rng.uniform(0.12, 0.4, 9) * side
    corners = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    mask = np.zeros((side, side), dtype=np.float32)
    cv2.fillPoly(mask, [corners.round().astype(np.int32)], 1.0)
    return np.asarray(cv2.GaussianBlur(mask, (5, 5), 1.0), dtype=np.float32)


def move(
    background: Picture,
    motion: Homography,
    *,
    frames: int,
    side: int,
    foreground: tuple[Picture, NDArray[np.float32], Homography] | None = None,
) -> MotionSequence:
    """A sequence that ends in the middle of the photograph.

    Args:
        background: H W 3, at least side in both directions; its margin is what moves in.
        motion: of the background, per frame.
        frames: T, at least 2.
        side: S, of the frames.
        foreground: texture H W 3 of at least S, silhouette S S in [0, 1] in the reference frame, and motion per frame.

    Returns:
        T frames of S x S and the exact flow from each to the ones before and after.
    """
    if frames < 2:
        raise UsageError("a sequence is too short", got=frames, expected="at least 2 frames")
    layers = _Layers(background, motion, foreground, side)
    rendered = [layers.render(frames - 1 - index) for index in range(frames)]
    return MotionSequence(
        frames=np.stack([picture for picture, _ in rendered]),
        flow_to_previous=np.stack([layers.flow(cover, backwards=True) for _, cover in rendered[1:]]),
        flow_to_next=np.stack([layers.flow(cover, backwards=False) for _, cover in rendered[:-1]]),
    )


class _Layers:
    """Background and, perhaps, an object before it, each moving by its own homography."""

    def __init__(
        self,
        background: Picture,
        motion: Homography,
        foreground: tuple[Picture, NDArray[np.float32], Homography] | None,
        side: int,
    ) -> None:
        self.background, self.foreground, self.side = background, foreground, side
        self.motions = [motion] if foreground is None else [motion, foreground[2]]
        self._flows = {
            backwards: [_flow(_inverse(each) if backwards else each, side) for each in self.motions]
            for backwards in (True, False)
        }

    def render(self, left: int) -> tuple[Picture, NDArray[np.float32] | None]:
        """The frame that is `left` frames before the reference, and how much of it the object covers."""
        forth = np.linalg.matrix_power(self.motions[0], left)
        picture = _resample(self.background, _corner(self.background, self.side) @ forth, self.side)
        if self.foreground is None:
            return picture, None
        texture, silhouette, own = self.foreground
        forth = np.linalg.matrix_power(own, left)
        cover = np.clip(_resample(silhouette, forth, self.side, border=cv2.BORDER_CONSTANT), 0, 1)
        over = _resample(texture, _corner(texture, self.side) @ forth, self.side)
        blended = picture + cover[:, :, None] * (over.astype(np.float32) - picture)
        return np.clip(np.rint(blended), 0, 255).astype(np.uint8), cover

    def flow(self, cover: NDArray[np.float32] | None, *, backwards: bool) -> NDArray[np.float32]:
        """2 S S: of the layer that is seen at each pixel."""
        flows = self._flows[backwards]
        return flows[0] if cover is None else np.where(cover > 0.5, flows[1], flows[0])


def _translation(offset_x: float, offset_y: float | None = None) -> Homography:
    return np.array([[1, 0, offset_x], [0, 1, offset_x if offset_y is None else offset_y], [0, 0, 1]], dtype=np.float64)


def _inverse(motion: Homography) -> Homography:
    return np.asarray(np.linalg.inv(motion), dtype=np.float64)


def _corner(picture: Picture, side: int) -> Homography:
    """From frame coordinates to those of the photograph, in whose middle the frame lies."""
    height, width = picture.shape[:2]
    return _translation((width - side) // 2, (height - side) // 2)


def _resample(source: NDArray, position: Homography, side: int, border: int = cv2.BORDER_REFLECT_101) -> NDArray:  # type: ignore[type-arg]
    """Source read at `position` of every frame pixel: side side (3)."""
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(source, position, (side, side), flags=flags, borderMode=border)


def _flow(to_other: Homography, side: int) -> NDArray[np.float32]:
    """2 side side: where each pixel was or will be, minus where it is."""
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float64)
    mapped = np.einsum("ij,jhw->ihw", to_other, np.stack([columns, rows, np.ones_like(rows)]))
    return (mapped[:2] / mapped[2:] - np.stack([columns, rows])).astype(np.float32)
