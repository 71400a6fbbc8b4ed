"""Cuts in a stream of frames: nothing is guided across one.

scenedetect's AdaptiveDetector, on small pictures and brightness only, proposes frames whose change stands out from the
changes around them. A proposal is a cut when the change still stands out after motion is taken out, and when no picture
shortly before it resembles one shortly after it. The first rule passes over pans, fast motion, flicker by a tenth of
the light, fades and dissolves, whose changes come in a row or are small; the second over flashes of up to FLASH_FRAMES
frames, which end where they began, and over repeated pictures followed by a jump of the same motion.

What follows from the rules: a fade or a dissolve of five frames or more is no cut, the shots on both sides are one. A
shot may be one frame long. Of three cuts within five frames the middle one is passed over (the ends of the film count
as cuts here). A flash that lasts longer is a shot. Wide, fast motion drawn on every third frame may be cut. Whether a
frame starts a shot never depends on anything more than LOOK_AHEAD frames ahead, so that is all that is held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, pairwise, repeat

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from dgafvsr.video.frames import Frame, Pixels

__all__ = ["FLASH_FRAMES", "LOOK_AHEAD", "MarkedFrame", "ShotStream", "detect_cuts", "mark_cuts", "split_shots"]

LOOK_AHEAD = 2
"""Frames after a frame that are read before it is known whether that one starts a shot."""
FLASH_FRAMES = 2
"""Longest flash, in frames, that is no shot of its own."""

SMALL_SIDE = 128  # pixels: cuts are seen in small pictures, and noise is not
# Both: the change into a frame over the mean change of the two before and the two after. As the pictures are, fast
# motion on both sides brings a cut down to less than 2. With motion taken out, a fade that starts or ends has 2, a lone
# cut far more.
PROPOSED, STANDS_OUT = 1.5, 2.5
LEAST_CHANGE = 6.0  # mean change of brightness, of 255; cuts between dark scenes have about 10
# Two pictures resemble each other if motion explains them up to this share of the change at the supposed cut.
RESEMBLANCE = 0.7

Small = NDArray[np.uint8]
"""h w 3, BGR, in [0, 255], sides of at most SMALL_SIDE."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MarkedFrame:
    """A frame of a film and whether a shot starts with it."""

    frame: Frame
    starts_shot: bool
    """True for the first frame of the film and for each frame after a cut."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ShotStream:
    """One shot of a stream, to be read before the next is asked for."""

    start: int
    """Index of its first frame in the film."""
    frames: Iterator[Frame]
    """Its frames, at least one, in order."""


def detect_cuts(frames: Iterable[Frame]) -> Iterator[MarkedFrame]:
    """The same frames with the cuts found in them; holds LOOK_AHEAD frames besides the one it gives.

    Args:
        frames: of one film, all of one size.
    """
    held = deque[Frame]()

    def small_pictures() -> Iterator[Small]:
        for frame in frames:
            held.append(frame)
            yield _small_picture(frame.pixels)

    for index, cut in enumerate(_find_cuts(small_pictures())):
        yield MarkedFrame(frame=held.popleft(), starts_shot=cut or index == 0)


def mark_cuts(frames: Iterable[Frame], starts: Collection[int] = ()) -> Iterator[MarkedFrame]:
    """The same frames with cuts at known places.

    Args:
        frames: of one film.
        starts: indices of the frames that start a shot; 0 may be left out.
    """
    for index, frame in enumerate(frames):
        yield MarkedFrame(frame=frame, starts_shot=index == 0 or index in starts)


def split_shots(marked: Iterable[MarkedFrame]) -> Iterator[ShotStream]:
    """The shots of a film, each as a stream of its own; holds no frame beyond the one that starts a shot.

    Args:
        marked: the frames of one film.
    """
    for _, shot in groupby(_numbered(marked), key=lambda each: each[0]):
        yield _shot_stream(shot)


def _shot_stream(numbered: Iterator[tuple[int, int, Frame]]) -> ShotStream:
    _, start, first = next(numbered)
    return ShotStream(start=start, frames=chain([first], (frame for _, _, frame in numbered)))


def _numbered(marked: Iterable[MarkedFrame]) -> Iterator[tuple[int, int, Frame]]:
    """(Number of the shot, index in the film, frame)."""
    shot = 0
    for index, each in enumerate(marked):
        shot += each.starts_shot
        yield shot, index, each.frame


def _find_cuts(pictures: Iterable[Small]) -> Iterator[bool]:
    """Whether there is a cut before each picture; reads LOOK_AHEAD pictures ahead."""
    candidates = AdaptiveDetector(
        adaptive_threshold=PROPOSED,
        min_content_val=LEAST_CHANGE,
        window_width=LOOK_AHEAD,
        luma_only=True,
        min_scene_len=0,
    )
    near = deque[Small | None](maxlen=2 * (LOOK_AHEAD + 1))
    for position, (picture, inside) in enumerate(_padded(pictures)):
        near.append(picture if inside else None)
        # The clock is the detector's own; only the order counts.
        found = candidates.process_frame(FrameTimecode(position, fps=1.0), picture)
        if position >= 2 * LOOK_AHEAD:
            pictures_near = list(near)
            before, after = pictures_near[: -LOOK_AHEAD - 1], pictures_near[-LOOK_AHEAD - 1 :]
            yield bool(found) and _stands_out(before, after) and _is_separated(before, after)


def _padded(pictures: Iterable[Small]) -> Iterator[tuple[Small, bool]]:
    """The pictures, True, with the first and the last held LOOK_AHEAD times longer, False."""
    last = None
    for picture in pictures:
        if last is None:
            yield from repeat((picture, False), LOOK_AHEAD)
        last = picture
        yield picture, True
    if last is not None:
        yield from repeat((last, False), LOOK_AHEAD)


def _stands_out(before: Sequence[Small | None], after: Sequence[Small | None]) -> bool:
    """Whether the change at a supposed cut stands out from the changes around it, without what motion explains.

    Args:
        before: in order, the last one lies next to the cut; None lies outside the film.
        after: in order, the first one lies next to the cut.
    """
    changes = [
        None if old is None or new is None else _unexplained_difference(old, new)
        for old, new in pairwise([*before, *after])
    ]
    change = changes.pop(len(before) - 1)
    around = [each for each in changes if each is not None]
    return change is not None and change * len(around) >= STANDS_OUT * sum(around)


def _is_separated(before: Sequence[Small | None], after: Sequence[Small | None]) -> bool:
    """Whether no picture before a supposed cut resembles one after it that is at most a flash away.

    Args:
        before: in order, the last one lies next to the cut; None lies outside the film.
        after: in order, the first one lies next to the cut.
    """
    last, first = before[-1], after[0]
    if last is None or first is None:
        return False
    limit = RESEMBLANCE * _difference(last, first)
    return all(
        _unexplained_difference(old, new) >= limit
        for back, old in enumerate(reversed(before))
        for ahead, new in enumerate(after)
        if back + ahead <= FLASH_FRAMES and old is not None and new is not None
    )


def _small_picture(pixels: Pixels) -> Small:
    """The picture, at most SMALL_SIDE wide and high, at least 8, BGR."""
    height, width = pixels.shape[:2]
    scale = min(1.0, SMALL_SIDE / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    if small.dtype == np.uint16:
        small = small >> 8
    return np.ascontiguousarray(small[..., ::-1], dtype=np.uint8)


def _brightness(picture: Small) -> Small:
    """H w in [0, 255]: the V of HSV, which the detector measures too."""
    return picture.max(axis=2)


def _difference(a: Small, b: Small) -> float:
    """Mean absolute difference of brightness, of 255."""
    return float(cv2.absdiff(_brightness(a), _brightness(b)).mean())


def _unexplained_difference(a: Small, b: Small) -> float:
    """Mean absolute difference of brightness, of 255, that stays when `a` has followed the motion to `b`."""
    old, new = _brightness(a), _brightness(b)
    # Farneback's polynomial expansion, which bears pictures of any size. flow_to_a (dx, dy): b(x, y) is a(x + dx, ...).
    flow_to_a = cv2.calcOpticalFlowFarneback(new, old, None, 0.5, 4, 15, 3, 5, 1.1, 0)  # type: ignore[call-overload]
    height, width = new.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    followed = cv2.remap(
        old, columns + flow_to_a[..., 0], rows + flow_to_a[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return float(cv2.absdiff(followed, new).mean())
