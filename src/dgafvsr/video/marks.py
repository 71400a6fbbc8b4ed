"""Marks of a film that say how its pictures are meant: stereo, 360 degrees, captions; colour and shape are elsewhere.

They lie beside the coded pictures. Only the kind of stereo can be written again (by Matroska and WebM); PyAV gives no
hand to the others, so they are named.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import av
from av.sidedata.sidedata import Type

__all__ = ["STEREO_KINDS", "STEREO_NOTE", "read_marks", "read_stereo", "side_data_of"]

# AVStereo3D begins with the packing and its flags; of these, 1 says that the views are the other way round.
STEREO = struct.Struct("=2i")
PACKINGS = {1: ("left_right", "right_left"), 2: ("top_bottom", "bottom_top")}
NO_STEREO = 0
STEREO_KINDS = {
    "webm": frozenset(["bottom_top", "left_right", "right_left", "top_bottom"]),
    "matroska": frozenset(
        [
            *("anaglyph_cyan_red", "anaglyph_green_magenta", "block_lr", "block_rl", "bottom_top", "checkerboard_lr"),
            *("checkerboard_rl", "col_interleaved_lr", "col_interleaved_rl", "left_right", "right_left"),
            *("row_interleaved_lr", "row_interleaved_rl", "top_bottom"),
        ]
    ),
}
"""How a picture can hold two views, by the container that can say it."""
UNKNOWN_STEREO = "unknown"
STEREO_NOTE = "stereo_mode"
LOST = {
    Type.SPHERICAL: "the mark of a 360-degree picture is left out: players show the result flat until it has one again",
    Type.A53_CC: "the closed captions inside the pictures (CEA-608, CEA-708) are left out",
    Type.AFD: "the active format description is left out",
    Type.PANSCAN: "the pan-and-scan window is left out",
    Type.AMBIENT_VIEWING_ENVIRONMENT: "the ambient viewing environment is left out",
    Type.ICC_PROFILE: "the ICC profile is left out",
}


def side_data_of(picture: av.VideoFrame, kind: Type) -> bytes:
    """What lies beside a decoded picture, as FFmpeg's structure; empty where there is nothing of this kind."""
    held: Any = picture.side_data  # typed by PyAV as if it held motion vectors only
    found = held.get(kind)
    return b"" if found is None else bytes(found)


def read_marks(picture: av.VideoFrame) -> tuple[str, ...]:
    """One sentence for each mark of a picture that no output keeps."""
    return tuple(sentence for kind, sentence in LOST.items() if side_data_of(picture, kind))


def read_stereo(picture: av.VideoFrame, notes: Mapping[str, str]) -> str | None:
    """How the pictures hold two views, by Matroska's name; "unknown" for ways that have none, None for a single view.

    Args:
        picture: the film's first.
        notes: metadata of the stream; Matroska's own name is among them.
    """
    named = notes.get(STEREO_NOTE)
    if named is not None:
        return None if named == "mono" else named
    data = side_data_of(picture, Type.STEREO3D)
    packing, flags = STEREO.unpack_from(data) if len(data) >= STEREO.size else (NO_STEREO, 0)
    if packing == NO_STEREO:
        return None
    return PACKINGS[packing][flags & 1] if packing in PACKINGS else UNKNOWN_STEREO
