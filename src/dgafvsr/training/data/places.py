"""Where held-out material really lies: what links lead to, in either direction, and what packs were made of.

A folder of validation clips may consist of links into the training data, a clip of links into the validation clips, and
a pack has no paths at all. So paths are compared as they really are, and the pictures of packs by the fingerprints of
the files that they were made of. Copies of files under other names are not found, but in packs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from dgafvsr.evaluation.clips import VIDEO_SUFFIXES
from dgafvsr.training.data.blobs import fingerprint
from dgafvsr.video.folders import IMAGE_SUFFIXES

__all__ = ["Places"]


class Places:
    """Folders and files, with everything that links in them lead to.

    Args:
        roots: folders or files, themselves perhaps links.
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self._real: set[Path] = set()
        waiting = [_real_path(root) for root in roots]
        while waiting:
            place = waiting.pop()
            if not self._hold(place):
                self._real.add(place)
                waiting += [_real_path(path) for path in _below(place) if path.is_symlink()]
        # of single pictures that a link leads to
        self._opened = {place.parent for place in self._real if place.suffix.lower() in IMAGE_SUFFIXES}

    def hold(self, path: Path) -> bool:
        """Whether a file or folder lies in them."""
        return self._hold(_real_path(path))

    def share(self, folder: Path) -> bool:
        """Whether a folder, or one of the pictures directly in it, lies in them."""
        real = _real_path(folder)
        if self._hold(real) or real in self._opened:
            return True
        try:
            with os.scandir(real) as entries:
                links = [Path(entry.path) for entry in entries if entry.is_symlink()]
        except OSError:  # a closed folder, or a file
            return False
        return any(self.hold(link) for link in links if link.suffix.lower() in IMAGE_SUFFIXES)

    @cached_property
    def fingerprints(self) -> frozenset[str]:
        """Of all pictures and videos in them.

        Raises:
            InputError: one of them cannot be read.
        """
        files = (path for place in self._real for path in (place, *_below(place)) if path.is_file())
        return frozenset(fingerprint(path) for path in files if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES)

    def _hold(self, real: Path) -> bool:
        return not self._real.isdisjoint((real, *real.parents))


def _real_path(path: Path) -> Path:
    return Path(os.path.realpath(path))  # takes links in a circle as they are


def _below(folder: Path) -> Iterator[Path]:
    """Everything below a folder; nothing below a file. Links are named, not followed."""
    for place, folders, files in os.walk(folder):
        yield from (Path(place, name) for name in (*folders, *files))
