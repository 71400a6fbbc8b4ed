"""Makes a small training set from a large one: `dgafvsr data pack DIR OUT.tar --max-mb 50`.

1. Every photograph, and short runs of frames spread over every clip, are looked at once (`pack_candidates.py`).
2. The highest quality at which all of them fit is taken. If even the lowest is too much, they are put in an order in
   which each next one is the least like those before it (`spread.py`), and taken while there is room.
3. The chosen ones are coded again and written one after the other, so memory does not grow with the data.

The same data gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from dgafvsr.errors import InputError
from dgafvsr.training.data.blobs import Blob, fingerprint
from dgafvsr.training.data.pack_candidates import Candidate, PackSettings, encode_picture, look_at, render
from dgafvsr.training.data.packs import INDEX_NAME, PACK_FORMAT
from dgafvsr.training.data.problems import ProblemList
from dgafvsr.training.data.sources import ClipSource, find_sources, list_pictures
from dgafvsr.training.data.spread import spread_order
from dgafvsr.video.atomic import PendingFile, writing_error

__all__ = ["PackResult", "pack"]

Item = TypeVar("Item")

# A tar file is blocks of 512 bytes, a member one block and its contents; the whole is filled up to records of 10240.
_BLOCK: Final = 512
_RECORD: Final = 10240
# Bytes that an entry of the index takes beside the names in it, and a picture's name and origin there, generously.
_ENTRY: Final = 350
_NAME: Final = 56
_NOTE_NAMES: Final = ("attribution", "copying", "credits", "licence", "license", "notice", "readme")
_LONGEST_NOTE: Final = 20_000


@dataclass(frozen=True, kw_only=True)
class PackResult:
    """What was packed."""

    path: Path
    size: int
    """Bytes of the file."""

    photos: int
    runs: int
    """Runs of frames."""

    frames: int
    """Pictures in those runs."""

    quality: int
    """The lowest in it."""

    left_out: int
    """Photographs and runs for which there was no room."""

    held_out: int
    """Folders of validation and test material that were not looked at."""

    problems: str
    """Sources that could not be read, one line each; empty if all could."""


def pack(
    data: Path,
    target: Path,
    settings: PackSettings | None = None,
    *,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> PackResult:
    """A training set of bounded size from a data folder; `open_data` reads it.

    Args:
        data: a folder as for `open_data`; validation material is left out.
        target: the tar file to make; it appears when it is complete.
        settings: size and kind.
        overwrite: replace an existing file.
        on_progress: called with the sources looked at and how many there are.

    Raises:
        InputError: nothing to pack, too much that cannot be read, or not even one picture fits.
        OutputError: the target exists or cannot be written.
        ResourceError: the disk is full.
    """
    settings = settings or PackSettings()
    found = find_sources(data)
    pending = PendingFile(target, overwrite=overwrite)
    try:
        packer = _Packer(data.resolve(), settings)
        most = settings.max_candidates
        packer.look([*_thinned(found.photos, most), *_thinned(found.clips, most)], on_progress)
        index = packer.write(pending.path)
        size = pending.path.stat().st_size
        assert size <= settings.max_mb * 1_000_000
        pending.publish()
    except OSError as error:
        raise writing_error(target, error) from error
    finally:
        pending.discard()
    entries = [*index["photos"], *index["clips"]]
    return PackResult(
        path=target,
        size=size,
        photos=len(index["photos"]),
        runs=len(index["clips"]),
        frames=sum(len(entry["files"]) for entry in index["clips"]),
        quality=min(entry["quality"] for entry in entries),
        left_out=len(packer.photos) + len(packer.runs) - len(entries),
        held_out=len(found.held_out),
        problems=packer.problems.summary(),
    )


class _Packer:
    """One pack in the making."""

    def __init__(self, root: Path, settings: PackSettings) -> None:
        self.root, self.settings = root, settings
        self.photos: list[Candidate] = []
        self.runs: list[Candidate] = []
        self.notes: dict[str, bytes] = {}
        self._note_of: dict[Path, str] = {}
        self.problems = ProblemList(0)

    def look(self, sources: Sequence[Blob | ClipSource], on_progress: Callable[[int, int], None] | None = None) -> None:
        """Look at every source once."""
        self.problems = ProblemList(len(sources))
        for done, source in enumerate(sources):
            try:
                candidates = list(look_at(source, self.settings))
            except InputError as error:
                self.problems.add(source.name, "unreadable", error.what)
                continue
            finally:
                if on_progress is not None:
                    on_progress(done + 1, len(sources))
            self.note_of(source.path)
            (self.photos if isinstance(source, Blob) else self.runs).extend(candidates)

    def note_of(self, path: Path) -> str:
        """Name of the README or LICENSE that lies nearest above a source within the data folder; empty without one."""
        path = path.resolve()
        folder = path if path.is_dir() else path.parent
        if folder not in self._note_of:
            inside = [place for place in (folder, *folder.parents) if place == self.root or self.root in place.parents]
            found = next((note for place in inside if (note := _find_note(place)) is not None), None)
            self._note_of[folder] = "" if found is None else self._keep(*found)
        return self._note_of[folder]

    def _keep(self, name: str, text: bytes) -> str:
        """Its name in the pack; empty if notes have taken a twentieth of the room."""
        unique = f"notes/{hashlib.blake2b(text, digest_size=4).hexdigest()}-{name}"
        if sum(map(len, self.notes.values())) + len(text) > self.settings.max_mb * 50_000:
            return unique if unique in self.notes else ""
        self.notes[unique] = text
        return unique

    def write(self, path: Path) -> dict[str, Any]:
        """Choose, code again and write; the index."""
        chosen, qualities = self._choose()
        index: dict[str, Any] = {"format": PACK_FORMAT, "settings": asdict(self.settings), "photos": [], "clips": []}
        with tarfile.open(path, "w:", format=tarfile.USTAR_FORMAT) as archive:
            for candidate, quality in zip(chosen, qualities, strict=True):
                self._add(archive, candidate, self.settings.qualities[quality], index)
            for name, text in sorted(self.notes.items()):
                _add_member(archive, name, text)
            _add_member(archive, INDEX_NAME, json.dumps(index).encode())
        return index

    def _choose(self) -> tuple[list[Candidate], list[int]]:
        """The candidates and the place of the quality of each."""
        room = int(self.settings.max_mb * 1_000_000) // _RECORD * _RECORD - 4 * _RECORD
        room -= sum(2 * _BLOCK + len(text) for text in self.notes.values())
        share = self.settings.clip_share if self.photos else 1.0
        runs, runs_quality = self._fill(self.runs, int(room * share))
        left = room - sum(self._cost(run, runs_quality) for run in runs)
        photos, photos_quality = self._fill(self.photos, left)
        if len(photos) == len(self.photos):  # what they leave is for the clips
            left = room - sum(self._cost(photo, photos_quality) for photo in photos)
            runs, runs_quality = self._fill(self.runs, left)
        if not photos and not runs:
            raise InputError(
                "nothing fits into the pack",
                got=f"{self.settings.max_mb} MB for {len(self.photos)} photographs and {len(self.runs)} runs of frames",
                remedy="allow more megabytes, or shorter runs",
            )
        return [*photos, *runs], [photos_quality] * len(photos) + [runs_quality] * len(runs)

    def _fill(self, candidates: list[Candidate], room: int) -> tuple[list[Candidate], int]:
        """All at the best quality at which they fit, or the most varied ones at the lowest."""
        for quality in range(len(self.settings.qualities)):
            if sum(self._cost(each, quality) for each in candidates) <= room:
                return candidates, quality
        lowest = len(self.settings.qualities) - 1
        chosen = []
        for place in spread_order(np.stack([each.description for each in candidates])):
            cost = self._cost(candidates[place], lowest)
            if cost <= room:
                room -= cost
                chosen.append(place)
        return [candidates[place] for place in sorted(chosen)], lowest

    def _cost(self, candidate: Candidate, quality: int) -> int:
        """Bytes in the tar, with what the index says of it."""
        told = _ENTRY + len(self._name(candidate).encode()) * 6 + len(self.note_of(candidate.path).encode())
        return told + sum(_NAME + _BLOCK - (-size // _BLOCK) * _BLOCK for size in candidate.sizes[quality])

    def _name(self, candidate: Candidate) -> str:
        """Of the source, below the data folder where it lies there."""
        path = candidate.path.resolve()
        return path.relative_to(self.root).as_posix() if self.root in path.parents else path.name

    def _add(self, archive: tarfile.TarFile, candidate: Candidate, quality: int, index: dict[str, Any]) -> None:
        suffix = {"jpeg": "jpg", "webp": "webp"}[self.settings.format]
        frames = render(candidate)
        entry = {
            "source": self._name(candidate),
            "made_of": [fingerprint(path) for path in _files(candidate)],
            "note": self.note_of(candidate.path),
            "quality": quality,
            "height": frames.shape[1],
            "width": frames.shape[2],
            "halvings": candidate.halvings,
        }
        if isinstance(candidate.source, Blob):
            names = [f"photos/{len(index['photos']):05d}.{suffix}"]
            index["photos"].append({"file": names[0], **entry})
        else:
            folder = f"clips/{len(index['clips']):05d}"
            names = [f"{folder}/{number:04d}.{suffix}" for number in range(len(frames))]
            index["clips"].append({"folder": folder, "files": names, "first_frame": candidate.start, **entry})
        for name, frame in zip(names, frames, strict=True):
            _add_member(archive, name, encode_picture(frame, self.settings, quality))


def _files(candidate: Candidate) -> list[Path]:
    """What it is made of: one file, or one for each frame."""
    if candidate.path.is_dir():
        return list_pictures(candidate.path)[candidate.start : candidate.stop]
    return [candidate.path]


def _find_note(folder: Path) -> tuple[str, bytes] | None:
    """Name and text of a folder's README or LICENSE; None if there is none that can be read."""
    for file in sorted(folder.iterdir()):
        if file.stem.lower() in _NOTE_NAMES and file.suffix.lower() in ("", ".md", ".txt") and file.is_file():
            with suppress(OSError):
                return file.name, file.read_bytes()[:_LONGEST_NOTE]
    return None


def _add_member(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member without time, owner or rights of this machine."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    archive.addfile(member, io.BytesIO(data))


def _thinned(items: Sequence[Item], most: int) -> list[Item]:
    return [items[index * len(items) // most] for index in range(most)] if len(items) > most else list(items)
