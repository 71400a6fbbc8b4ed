"""Photographs as a source of sharp pictures of any crop size.

Large photographs are rarely sharp at their full size, so those with a side above `soft_side` are halved once, by area
averaging. Crops are then taken at a random scale of at most 1: reduced, never enlarged, which keeps targets sharp.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from dgafvsr.errors import InputError
from dgafvsr.training.data.blobs import Blob, Picture, decode_picture, halve
from dgafvsr.training.data.memory import DEFAULT_CACHE_BYTES, ByteCache
from dgafvsr.training.data.problems import DEFAULT_BAD_SHARE, ProblemList
from dgafvsr.video.folders import IMAGE_SUFFIXES

__all__ = ["SOFT_SIDE", "PhotoLibrary", "fit", "list_photos"]

SOFT_SIDE: Final = 1200
"""Photographs with a longer side than this many pixels are taken for soft."""


def list_photos(folder: Path) -> list[Path]:
    """Photograph files below a folder, sorted by path.

    Raises:
        InputError: the folder is missing or holds no photograph.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise InputError(
            f"no training photographs in {folder}",
            expected=f"files ending in {', '.join(sorted(IMAGE_SUFFIXES))}",
            remedy="pass a data folder that holds a folder `photos`",
        )
    return found


def fit(picture: Picture, size: int) -> Picture:
    """A square picture at another size: area averaging down, mirrored at its right and lower edge up."""
    height, width = picture.shape[:2]
    if min(height, width) > size:
        return np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    missing = ((0, max(0, size - height)), (0, max(0, size - width)), (0, 0))
    return np.pad(picture, missing, mode="symmetric")[:size, :size]


class PhotoLibrary:
    """Photographs, decoded when they are needed and kept while there is room.

    Args:
        folder: searched recursively; or the photographs themselves, which may be none.
        soft_side: photographs with a longer side than this many pixels are halved when read.
        smallest_scale: crops are reduced by a factor drawn between this and 1.
        cache_bytes: bound of what is kept decoded in each process.
        bad_share: more unreadable photographs than this share are an error, 0 to 1.

    Raises:
        InputError: the folder is missing or holds no photograph.
    """

    def __init__(
        self,
        folder: Path | Sequence[Blob],
        *,
        soft_side: int = SOFT_SIDE,
        smallest_scale: float = 0.5,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        bad_share: float = DEFAULT_BAD_SHARE,
    ) -> None:
        self.blobs = [Blob(path) for path in list_photos(folder)] if isinstance(folder, Path) else list(folder)
        self._soft_side = soft_side
        self._smallest_scale = smallest_scale
        self._cache = ByteCache(cache_bytes)
        self.problems = ProblemList(len(self.blobs), bad_share=bad_share)

    def __len__(self) -> int:
        return len(self.blobs)

    def photo(self, index: int) -> Picture:
        """Photograph number `index`: H W 3 uint8 RGB, not to be written to.

        Raises:
            InputError: it cannot be read.
        """
        return self._cache.get(index, lambda: self._decode(index))

    def picture(self, rng: np.random.Generator, side: int) -> Picture:
        """A random crop of a random photograph at a random scale: side side 3 uint8 RGB.

        A photograph smaller than the crop is mirrored at its right and lower edge; one that cannot be read is noted in
        `problems` and another is drawn.

        Raises:
            InputError: too many cannot be read.
        """
        photo = self._draw(rng)
        height, width = photo.shape[:2]
        least = min(1.0, max(self._smallest_scale, side / min(height, width)))
        scale = float(np.exp(rng.uniform(np.log(least), 0.0)))
        taken = min(round(side / scale), height, width)
        top, left = int(rng.integers(height - taken + 1)), int(rng.integers(width - taken + 1))
        return fit(photo[top : top + taken, left : left + taken], side)

    def _draw(self, rng: np.random.Generator) -> Picture:
        while True:
            index = int(rng.integers(len(self)))
            if self.problems.is_unreadable(self.blobs[index].name):
                continue
            try:
                return self.photo(index)
            except InputError as error:
                self.problems.add(self.blobs[index].name, "unreadable", error.what)

    def _decode(self, index: int) -> Picture:
        photo = decode_picture(self.blobs[index])
        return halve(photo) if max(photo.shape[:2]) > self._soft_side else photo
