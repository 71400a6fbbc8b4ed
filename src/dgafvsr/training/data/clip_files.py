"""Frames of one clip at random access: a folder of pictures, or a video decoded from the key frame before.

A clip is opened for each reading and nothing is held open between them. What a video's packets say about times and key
frames is read once and kept.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from dgafvsr.errors import InputError
from dgafvsr.training.data.blobs import Blob, Frames, Picture, decode_picture, halve
from dgafvsr.training.data.sources import ClipSource, list_pictures
from dgafvsr.video.color import ColorTags, video_frame_to_pixels
from dgafvsr.video.decoding import has_no_pts
from dgafvsr.video.probing import open_container

__all__ = ["ClipFile", "PictureClip", "VideoClip", "open_clip"]


class ClipFile(Protocol):
    """A clip that can be read from any frame on."""

    @property
    def segment(self) -> int:
        """Frames that are best read together: reading costs the same for one of them as for all."""
        ...

    def __len__(self) -> int:
        """Frames of the clip."""
        ...

    def read(self, start: int, stop: int) -> Frames:
        """Frames start ... stop-1, T H W 3 uint8 RGB.

        Raises:
            InputError: they cannot be decoded.
        """
        ...

    def content(self, number: int) -> bytes:
        """Bytes that change whenever this frame changes, to know it by."""
        ...


def open_clip(source: ClipSource) -> ClipFile:
    """The clip's frames.

    Raises:
        InputError: there is no clip.
    """
    if source.pictures is not None:
        return PictureClip(source.pictures, halved=source.halved)
    if source.path.is_dir():
        return PictureClip(tuple(Blob(path) for path in list_pictures(source.path)), halved=source.halved)
    return VideoClip(source.path, halved=source.halved)


@dataclass(frozen=True)
class PictureClip:
    """Pictures of one size, one a frame."""

    pictures: tuple[Blob, ...]
    halved: bool = False
    segment: int = 1

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, start: int, stop: int) -> Frames:
        """Frames start ... stop-1; see `ClipFile`."""
        frames = [decode_picture(blob) for blob in self.pictures[start:stop]]
        stacked = _stack(frames, f"the pictures of {self.pictures[start].path.parent}")
        return np.stack([halve(frame) for frame in stacked]) if self.halved else stacked

    def content(self, number: int) -> bytes:
        """The picture's own bytes."""
        return self.pictures[number].read() + f"halved {self.halved}".encode()


@dataclass(frozen=True, kw_only=True)
class _Times:
    """What the packets of a video say, in stream time."""

    pts: tuple[int, ...]
    """Of every frame, in order of showing."""

    keys: tuple[int, ...] = ()
    """Of the key frames."""

    counted: bool = False
    """The file has no times: frames are known by their number from its start."""


class VideoClip:
    """A video file.

    Args:
        path: any container that FFmpeg reads.
        halved: frames are reduced by 2.
        segment: frames that are decoded together.

    Raises:
        InputError: it is no video.
    """

    def __init__(self, path: Path, *, halved: bool = True, segment: int = 60) -> None:
        self.path, self.halved, self.segment = path, halved, segment
        self._times = _read_times(path)
        self._seekable = True

    def __len__(self) -> int:
        return len(self._times.pts)

    def read(self, start: int, stop: int) -> Frames:
        """Frames start ... stop-1; see `ClipFile`."""
        wanted = self._times.pts[start:stop]
        before = bisect_right(self._times.keys, wanted[0]) - 1
        try:
            found: dict[int, Frames] = {}
            if before > 0 and self._seekable:
                found = self._decode(wanted, key=self._times.keys[before])
                self._seekable = len(found) == len(wanted)
            if len(found) < len(wanted):
                found = self._decode(wanted)
        except av.FFmpegError as error:
            raise InputError(f"{self.path} cannot be decoded", got=error.strerror or str(error)) from error
        if len(found) < len(wanted):
            missing = next(number for number, time in enumerate(wanted, start) if time not in found)
            raise InputError(f"{self.path} is damaged", got=f"no frame {missing}")
        return _stack([found[time] for time in wanted], f"the frames of {self.path}")

    def _decode(self, wanted: tuple[int, ...], *, key: int | None = None) -> dict[int, Frames]:
        """Frames by their times; from a key frame on if one is given, and none of them if that is not met.

        Containers without an index put a search down anywhere, and what is decoded there without its key frame is grey.
        """
        found: dict[int, Frames] = {}
        last, reformatter = wanted[-1], VideoReformatter()
        with open_container(self.path) as container:
            stream = container.streams.video[0]
            if key is not None:
                container.seek(key, stream=stream, backward=True)
            met = key is None
            for number, picture in enumerate(container.decode(stream)):
                time = number if self._times.counted else picture.pts
                met = met or time == key
                if met and time is not None and wanted[0] <= time <= last:
                    pixels = video_frame_to_pixels(picture, _tags(picture), reformatter)
                    found[time] = halve(pixels) if self.halved else pixels
                if len(found) == len(wanted):
                    break
        return found

    def content(self, number: int) -> bytes:
        """The frame's number, and size, time and three pieces of the file: hashing gigabytes would take longer."""
        return f"{number} halved {self.halved} ".encode() + self._fingerprint

    @cached_property
    def _fingerprint(self) -> bytes:
        stat, piece = self.path.stat(), 2**20
        with self.path.open("rb") as file:
            pieces = []
            for offset in (0, max(0, stat.st_size // 2 - piece), max(0, stat.st_size - piece)):
                file.seek(offset)
                pieces.append(file.read(piece))
        whole = b"".join([f"{stat.st_size} {stat.st_mtime_ns} ".encode(), *pieces])
        return hashlib.blake2b(whole, digest_size=20).digest()


def _stack(frames: Sequence[Picture], what: str) -> Frames:
    """T H W 3; refused if the frames differ in size."""
    sizes = list(dict.fromkeys(f"{frame.shape[1]}x{frame.shape[0]}" for frame in frames))
    if len(sizes) > 1:
        raise InputError(f"{what} differ in size: {' and '.join(sizes)}")
    return np.stack(frames)


def _read_times(path: Path) -> _Times:
    """Times of all frames, from the packets alone: nothing is decoded unless the file has no times."""
    try:
        with open_container(path) as container:
            if not container.streams.video:
                raise InputError(f"{path} has no picture", remedy="remove it from the data folder")
            packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
            times = [packet.pts for packet in packets if packet.pts is not None and not packet.is_discard]
            keys = [packet.pts for packet in packets if packet.pts is not None and packet.is_keyframe]
            if has_no_pts(container) or not times:
                container.seek(0)
                return _Times(pts=tuple(range(sum(1 for _ in container.decode(video=0)))), counted=True)
    except av.FFmpegError as error:
        raise InputError(f"{path} cannot be read", got=error.strerror or str(error)) from error
    # Pictures before the first key frame lean on missing ones.
    shown = {time for time in times if time >= min(keys, default=0)}
    return _Times(pts=tuple(sorted(shown)), keys=tuple(sorted(keys)))


def _tags(picture: av.VideoFrame) -> ColorTags:
    color_range = int(picture.color_range)
    return ColorTags(matrix=int(picture.colorspace), full_range=None if color_range == 0 else color_range == 2)
