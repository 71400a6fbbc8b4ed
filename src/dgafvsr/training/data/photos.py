"""Photographs as a source of sharp pictures of any crop size.

Large photographs are rarely sharp at their full size, so those with a side above `soft_side` are halved once, by area
averaging. Crops are then taken at a random scale of at most 1: reduced, never enlarged, which keeps targets sharp.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dgafvsr.errors import InputError

__all__ = ["PhotoLibrary", "augment", "list_photos"]

_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})

Picture = NDArray[np.uint8]


def list_photos(folder: Path) -> list[Path]:
    """Photograph files below a folder, sorted by path.

    Raises:
        InputError: the folder is missing or holds no photograph.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES) if folder.is_dir() else []
    if not found:
        raise InputError(
            f"no training photographs in {folder}",
            expected=f"files ending in {', '.join(sorted(_SUFFIXES))}",
            remedy="pass a data folder that holds a folder `photos`",
        )
    return found


def augment(picture: Picture, rng: np.random.Generator) -> Picture:
    """The picture flipped and turned by a random multiple of 90 degrees: exact, no interpolation; H = W kept."""
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    return np.ascontiguousarray(np.rot90(picture, k=int(rng.integers(4))))


class PhotoLibrary:
    """Photographs of a folder, decoded once and kept in memory as H W 3 uint8 RGB.

    Args:
        folder: searched recursively.
        soft_side: photographs with a longer side than this many pixels are halved when read.
        smallest_scale: crops are reduced by a factor drawn between this and 1.

    Raises:
        InputError: no photograph, or one that cannot be decoded.
    """

    def __init__(self, folder: Path, *, soft_side: int = 1200, smallest_scale: float = 0.5) -> None:
        self._paths = list_photos(folder)
        self._soft_side = soft_side
        self._smallest_scale = smallest_scale
        self._cache: dict[int, Picture] = {}

    def __len__(self) -> int:
        return len(self._paths)

    def photo(self, index: int) -> Picture:
        """Photograph number `index`: H W 3 uint8 RGB."""
        if index not in self._cache:
            path = self._paths[index]
            raw = np.fromfile(path, dtype=np.uint8)
            decoded = cv2.imdecode(raw, cv2.IMREAD_COLOR)
            if decoded is None:
                raise InputError(f"{path} is not a readable picture", remedy="remove the file from the data folder")
            if max(decoded.shape[:2]) > self._soft_side:
                decoded = cv2.resize(decoded, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            self._cache[index] = np.ascontiguousarray(decoded[:, :, ::-1], dtype=np.uint8)
        return self._cache[index]

    def crop(self, rng: np.random.Generator, size: int) -> Picture:
        """A random crop of a random photograph at a random scale: size size 3 uint8 RGB.

        A photograph smaller than the crop is mirrored at its right and lower edge.
        """
        photo = self.photo(int(rng.integers(len(self))))
        height, width = photo.shape[:2]
        least = min(1.0, max(self._smallest_scale, size / min(height, width)))
        scale = float(np.exp(rng.uniform(np.log(least), 0.0)))
        side = min(round(size / scale), height, width)
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        region = photo[top : top + side, left : left + side]
        if side > size:
            region = np.asarray(cv2.resize(region, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        short = size - region.shape[0]
        return np.pad(region, ((0, short), (0, short), (0, 0)), mode="symmetric") if short > 0 else region
