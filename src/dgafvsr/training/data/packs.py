"""A packed training set, as a source: one tar file with pictures, runs of frames, notes and an index.

    index.json             what is in it, where it comes from, and fingerprints of the files that it was made of
    photos/00000.jpg ...
    clips/0000/00000.jpg ...
    notes/...              README and LICENSE files of the sources

The tar is never unpacked: pictures are read from their places in it. Names inside of it are only looked up, so links,
absolute names and `..` lead nowhere.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any, Final

from dgafvsr.errors import InputError
from dgafvsr.training.data.blobs import Blob
from dgafvsr.training.data.sources import ClipSource, SourceSet

__all__ = ["INDEX_NAME", "PACK_FORMAT", "is_pack", "read_index", "read_pack"]

INDEX_NAME: Final = "index.json"
PACK_FORMAT: Final = "dgafvsr training pack 1"
# Of an index that describes some ten thousand pictures; more is no index of ours.
LARGEST_INDEX: Final = 64 * 2**20


def is_pack(path: Path) -> bool:
    """Whether a path is to be read as a pack: a file, not a folder."""
    return path.is_file()


def read_index(path: Path) -> dict[str, Any]:
    """The index of a pack.

    Raises:
        InputError: it is none, or damaged.
    """
    return _open(path)[0]


def read_pack(path: Path) -> SourceSet:
    """The photographs and clips of a pack.

    Raises:
        InputError: it is none, or damaged.
    """
    index, members = _open(path)
    try:
        photos = tuple(blob for item in index["photos"] for blob in _blobs(path, members, [item["file"]], item))
        clips = tuple(
            ClipSource(name=f"{path}:{item['folder']}", path=path, pictures=_blobs(path, members, item["files"], item))
            for item in index["clips"]
        )
    except (KeyError, TypeError) as error:
        raise _damaged(path, f"an index without {error}") from error
    return SourceSet(photos=photos, clips=clips)


def _open(path: Path) -> tuple[dict[str, Any], dict[str, tarfile.TarInfo]]:
    try:
        with tarfile.open(path, "r:") as archive:
            members = {member.name: member for member in archive.getmembers() if member.isreg()}
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path} is no training pack",
            got=str(error),
            expected="a folder, or a .tar file made by `dgafvsr data pack`",
        ) from error
    listed = members.get(INDEX_NAME)
    if listed is None or listed.size > LARGEST_INDEX:
        raise InputError(
            f"{path} is no training pack", got="a tar file without an index", expected="one made by `dgafvsr data pack`"
        )
    try:
        index = json.loads(Blob(path, listed.offset_data, listed.size, INDEX_NAME).read())
    except ValueError as error:
        raise _damaged(path, f"an unreadable index ({error})") from error
    if not isinstance(index, dict) or index.get("format") != PACK_FORMAT:
        found = index.get("format") if isinstance(index, dict) else "an index of another shape"
        raise InputError(f"{path} is a pack of another format", got=found, expected=PACK_FORMAT)
    return index, members


def _blobs(path: Path, members: dict[str, tarfile.TarInfo], names: list[str], item: dict[str, Any]) -> tuple[Blob, ...]:
    """An entry's pictures: all of one file, or each of its own."""
    origins = item.get("made_of", [""])
    if len(origins) == 1:
        origins = origins * len(names)
    if len(origins) != len(names):
        raise _damaged(path, f"{len(origins)} origins of {len(names)} pictures")
    return tuple(_blob(path, members, name, str(origin)) for name, origin in zip(names, origins, strict=True))


def _blob(path: Path, members: dict[str, tarfile.TarInfo], name: str, origin: str) -> Blob:
    if name not in members:
        raise _damaged(path, f"no picture {name}, which its index names")
    return Blob(path, members[name].offset_data, members[name].size, name, origin)


def _damaged(path: Path, got: str) -> InputError:
    return InputError(f"the training pack {path} is damaged", got=got, remedy="make or copy it again")
