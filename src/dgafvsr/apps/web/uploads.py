"""From a file that somebody has sent to a film that can be upscaled: a harmless name, a size and kind that fit."""

from __future__ import annotations

import re
import shutil
import unicodedata
from fractions import Fraction
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from dgafvsr.apps.web.records import Film, Pairs, new_id
from dgafvsr.apps.web.settings import ServerSettings
from dgafvsr.apps.web.store import Store
from dgafvsr.apps.web.words import bytes_text, seconds_text
from dgafvsr.errors import InputError
from dgafvsr.video.arrays import MINIMUM_SIDE
from dgafvsr.video.atomic import writing_error
from dgafvsr.video.color import at_depth
from dgafvsr.video.folders import IMAGE_SUFFIXES
from dgafvsr.video.frames import Frame, SourceInfo
from dgafvsr.video.reader import VideoReader
from dgafvsr.video.upright import upright_info, upright_picture

__all__ = ["THUMBNAIL", "accept_upload", "film_facts", "picture_of", "safe_name"]

LONGEST_STEM = 60
THUMBNAIL = "first.jpg"
THUMBNAIL_SIDE = 480
PQ, HLG = 16, 18


def safe_name(name: str) -> str:
    """A file name for whatever somebody calls their file: no folder, no leading dot, letters, digits, `_`, `.`, `-`.

    Args:
        name: anything; only what follows the last slash or backslash counts.
    """
    base = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    stem, dot, suffix = base.rpartition(".")
    stem, suffix = (stem, suffix) if dot else (suffix, "")
    stem = re.sub(r"[^\w.-]+", "_", stem).strip("._-")[:LONGEST_STEM] or "video"
    suffix = re.sub(r"[^A-Za-z0-9]", "", suffix).lower()[:5]
    return f"{stem}.{suffix}" if suffix else stem


def accept_upload(store: Store, upload: Path, settings: ServerSettings) -> Film:
    """The film that an uploaded file has become. The file is moved, or removed if it is refused.

    Args:
        store: takes the film.
        upload: in the store's folder for uploads.
        settings: what is too large.

    Raises:
        InputError: not in that folder, not a video, broken, or more than the settings allow.
        OutputError: it cannot be stored.
        ResourceError: the disk is full.
    """
    if upload.is_symlink() or not upload.resolve().is_relative_to(store.folder.uploads) or not upload.is_file():
        raise InputError("The file did not arrive", remedy="upload it again")
    name, film_id = re.split(r"[/\\]", upload.name)[-1], new_id()
    place = store.folder.films / film_id / "source" / safe_name(name)
    try:
        size = upload.stat().st_size
        if size > settings.max_upload_bytes:
            raise InputError(
                f"{name} is larger than allowed",
                got=bytes_text(size),
                expected=f"at most {bytes_text(settings.max_upload_bytes)}",
                remedy="cut the video, or start the server with a larger --max-upload-mb",
            )
        if place.suffix in IMAGE_SUFFIXES:
            raise InputError(f"{name} is a picture", expected="a video")
        place.parent.mkdir(mode=0o700, parents=True)
        upload.replace(place)
        return _take(store, place, film_id, name, settings)
    except BaseException as error:
        for parent in (store.folder.films, store.folder.shown):
            store.folder.remove(parent / film_id)
        if isinstance(error, OSError):
            raise writing_error(Path(name), error) from error
        raise
    finally:
        upload.unlink(missing_ok=True)
        if upload.parent != store.folder.uploads:
            shutil.rmtree(upload.parent, ignore_errors=True)


def _take(store: Store, place: Path, film_id: str, name: str, settings: ServerSettings) -> Film:
    reader, interlaced = _open(place, settings)
    info = reader.info
    if min(info.width, info.height) < MINIMUM_SIDE:
        raise InputError(
            f"The pictures of {name} are too small",
            got=f"{info.width}x{info.height}",
            expected=f"sides of at least {MINIMUM_SIDE} pixels",
        )
    film = Film(
        id=film_id,
        name=name,
        file=place.name,
        width=info.width,
        height=info.height,
        seconds=float(_length(info)),
        interlaced=interlaced,
        facts=film_facts(info, size=place.stat().st_size, interlaced=interlaced),
    )
    first = next(iter(reader))
    picture = Image.fromarray(picture_of(first, info))
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    picture.save(store.shown_of(film) / THUMBNAIL, quality=85)
    store.add_film(film)
    return film


def _open(place: Path, settings: ServerSettings) -> tuple[VideoReader, bool]:
    """The film, and whether one picture is made of its fields."""
    try:
        return VideoReader(place, limits=settings.limits), False
    except InputError as error:
        try:
            return VideoReader(place, limits=settings.limits, deinterlace=True), True
        except InputError:
            raise error from None


def _length(info: SourceInfo) -> Fraction:
    if info.duration_seconds is not None:
        return info.duration_seconds
    return (info.frame_count or 0) / info.frame_rate


def film_facts(info: SourceInfo, *, size: int, interlaced: bool) -> Pairs:
    """What a film is, in words for people.

    Args:
        info: of the film.
        size: of the file in bytes.
        interlaced: whether its pictures hold two fields.
    """
    shown = upright_info(info)
    mark = ", mirrored" if info.mirroring else f", turned by {info.rotation % 360}°" if info.rotation else ""
    frames = f"{info.frame_count}" if info.frame_count is not None else f"about {info.expected_frames or '?'}"
    facts = [
        ("Size", f"{shown.width} x {shown.height} pixels{mark}"),
        ("Length", f"{seconds_text(float(_length(info)))}, {frames} frames"),
        ("Frame rate", f"{float(info.frame_rate):.5g} frames/s"),
        ("Video", f"{info.codec}, {info.bit_depth} bits ({info.pixel_format})"),
        ("Colour", _color_text(info)),
        ("Sound", ", ".join(info.audio_codecs) or "none"),
    ]
    facts += [("Scan", "interlaced: one picture is made of its two fields")] if interlaced else []
    facts += [("Transparency", "yes; MP4 and WebM results lose it")] if info.has_alpha else []
    facts += [("Other streams", ", ".join(info.other_streams))] if info.other_streams else []
    return (*facts, ("File", bytes_text(size)))


def _color_text(info: SourceInfo) -> str:
    curve = {PQ: "HDR (PQ)", HLG: "HDR (HLG)"}.get(info.color.transfer, "HDR" if info.hdr else "SDR")
    return ", ".join((curve, *(f"{name} (not kept)" for name in info.dynamic_hdr)))


def picture_of(frame: Frame, info: SourceInfo) -> NDArray[Any]:
    """A frame as players show it: H W 3 uint8.

    Args:
        frame: of a film.
        info: of the film.
    """
    return upright_picture(at_depth(frame.pixels, 8), info)
