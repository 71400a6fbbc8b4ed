"""Where the bytes of a picture lie: a file of its own, or a stretch of a pack (`packs.py`).

Pictures are always read by opening the file, so nothing is held open and every object of this room can be pickled into
the processes that prepare data.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dgafvsr.errors import InputError

__all__ = ["Blob", "Frames", "Picture", "decode_picture", "fingerprint", "halve"]

_PIECE: Final = 2**16

Picture = NDArray[np.uint8]
"""H W 3 RGB."""

Frames = NDArray[np.uint8]
"""T H W 3 RGB."""


@dataclass(frozen=True)
class Blob:
    """The bytes of a picture."""

    path: Path
    """The file that holds them."""

    offset: int = 0
    """Where in the file they begin."""

    size: int | None = None
    """How many they are; None means up to the end of the file."""

    member: str = ""
    """Name inside of a pack; empty for a file of its own."""

    origin: str = ""
    """Fingerprint of the file that a pack's picture was made of; empty where it is not known."""

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    def read(self) -> bytes:
        """The bytes.

        Raises:
            InputError: the file is not there, cannot be read, or ends early.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read() if self.size is None else file.read(self.size)
        except OSError as error:
            raise InputError(f"{self.name} cannot be read", got=error.strerror or str(error)) from error
        if self.size is not None and len(data) < self.size:
            raise InputError(f"{self.name} ends early", got=f"{len(data)} bytes", expected=f"{self.size} bytes")
        return data


def fingerprint(path: Path) -> str:
    """What a file is known by wherever it lies: a hash of its size and of three pieces, 20 hexadecimal digits.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            pieces = []
            for offset in (0, max(0, size // 2 - _PIECE), max(0, size - _PIECE)):
                file.seek(offset)
                pieces.append(file.read(_PIECE))
    except OSError as error:
        raise InputError(f"{path} cannot be read", got=error.strerror or str(error)) from error
    return hashlib.blake2b(b"".join([f"{size} ".encode(), *pieces]), digest_size=10).hexdigest()


def decode_picture(blob: Blob) -> Picture:
    """The picture upright, H W 3 uint8 RGB; transparency is dropped, 16 bits become 8.

    Raises:
        InputError: the bytes are no picture.
    """
    raw = np.frombuffer(blob.read(), dtype=np.uint8)
    try:
        decoded = cv2.imdecode(raw, cv2.IMREAD_COLOR) if raw.size else None
    except cv2.error:  # sizes beyond OpenCV's limit
        decoded = None
    if decoded is None:
        raise InputError(f"{blob.name} is not a readable picture", remedy="remove it from the data folder")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def halve(picture: Picture) -> Picture:
    """The picture at half its size by area averaging: H/2 W/2 3."""
    return np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), dtype=np.uint8)
