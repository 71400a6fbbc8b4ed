"""Whether a file is whole, told from the sizes that its own structure declares; nothing is decoded.

Demuxers of a truncated or torn file simply stop early, without an error. Three families declare sizes everywhere, so a
walk over their elements finds the tear before hours of work are spent: ISO boxes (MP4, MOV), EBML elements (Matroska,
WebM) and RIFF chunks (AVI). Damage inside a picture is the decoder's to find.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["Tear", "find_tear"]

SEGMENT, CLUSTER, TIMESTAMP = 0x18538067, 0x1F43B675, 0xE7
# Every element that RFC 9559 allows directly in a Segment, then those in a Cluster.
SEGMENT_ELEMENTS = (0x1A45DFA3, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367)
CLUSTER_ELEMENTS = (0xA3, 0xA0, 0xAB, 0xA7, 0x5854, 0xAF)
VOID, CRC32 = 0xEC, 0xBF
MATROSKA_ELEMENTS = frozenset({SEGMENT, CLUSTER, TIMESTAMP, VOID, CRC32, *SEGMENT_ELEMENTS, *CLUSTER_ELEMENTS})


@dataclass(frozen=True, kw_only=True)
class Tear:
    """Where a file's structure breaks off."""

    offset: int
    """Bytes from the start of the file."""
    truncated: bool
    """True: the file ends too early; False: bytes in it are not what they should be."""
    seconds: float | None = None
    """About the time in the video, None where the structure does not tell."""


def find_tear(path: Path) -> Tear | None:
    """The first place where the file is not whole, or None.

    None also means that the format declares no sizes (MPEG-TS, raw streams, live recordings).

    Args:
        path: a local file.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(12)
        walk: Callable[[BinaryIO, int], Tear | None] | None = None
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp"):
            walk = _walk_iso
        elif head[:4] == b"\x1a\x45\xdf\xa3":
            walk = _walk_matroska
        elif head[:4] == b"RIFF":
            walk = _walk_riff
        return walk(file, size) if walk else None


def _walk_iso(file: BinaryIO, size: int) -> Tear | None:
    position = 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length, name = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8 or not name.isalnum():  # 0: up to the end of the file; else padding, not ours to judge
            return None
        if position + length > size:
            return Tear(offset=position, truncated=True)
        position += length
    return None


def _walk_riff(file: BinaryIO, size: int) -> Tear | None:
    position = 0
    while position + 8 <= size:
        file.seek(position)
        name, length = file.read(4), int.from_bytes(file.read(4), "little")
        if name != b"RIFF" or length in (0, 0xFFFFFFFF):
            return None
        if position + 8 + length > size:
            return Tear(offset=position, truncated=True)
        position += 8 + length + length % 2
    return None


def _walk_matroska(file: BinaryIO, size: int) -> Tear | None:
    """Steps over the elements of the Segment and of each Cluster; a Cluster must end where one of them does."""
    position, segment_end, cluster_end, seconds = 0, size, size, 0.0
    while position < min(size, segment_end):
        file.seek(position)
        header = file.read(20)
        element = _read_element(header)
        if element is None or element.name not in MATROSKA_ELEMENTS:
            cut = element is None and position + 12 > size
            return Tear(offset=position, truncated=cut or segment_end > size, seconds=seconds)
        body = position + element.header_length
        end = size if element.length is None else body + element.length
        if element.name == SEGMENT:
            segment_end, position = end, body
        elif element.name == CLUSTER:
            cluster_end, position = end, body
        elif end > min(size, cluster_end):
            return Tear(offset=position, truncated=end > size, seconds=seconds)
        else:
            position = end
        if element.name == TIMESTAMP and element.length is not None:
            ticks = header[element.header_length : element.header_length + element.length]
            seconds = int.from_bytes(ticks, "big") / 1000  # nearly every file counts milliseconds
        if position == cluster_end:
            cluster_end = size
    return Tear(offset=size, truncated=True, seconds=seconds) if segment_end > size else None


@dataclass(frozen=True, kw_only=True)
class _Element:
    name: int
    length: int | None
    header_length: int


def _read_element(header: bytes) -> _Element | None:
    """The EBML element that starts with these bytes, None where they are none or too few; length None is "unknown"."""
    if not header or header[0] < 0x10:
        return None
    name_length = 9 - header[0].bit_length()
    sizes = header[name_length:]
    if not sizes or not sizes[0]:
        return None
    size_length = 9 - sizes[0].bit_length()
    if len(sizes) < size_length:
        return None
    unknown = (1 << 7 * size_length) - 1
    length = int.from_bytes(sizes[:size_length], "big") & unknown
    return _Element(
        name=int.from_bytes(header[:name_length], "big"),
        length=None if length == unknown else length,
        header_length=name_length + size_length,
    )
