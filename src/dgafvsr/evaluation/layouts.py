"""Where the clips of a benchmark lie: sets inside a benchmark's folder, Vimeo-90K-T's list and centre frames.

A benchmark's folder may be named instead of one of its sets: `vid4` for `vid4/GT` as ground truth, or for `vid4/BIx4`
as input, if it holds no other input. Vimeo-90K-T (`sep_testlist.txt` beside `sequences`) is scored on the centre frame
of each clip, as the field does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dgafvsr.errors import InputError, UsageError
from dgafvsr.evaluation.datasets import LAYOUTS, VIMEO_LIST
from dgafvsr.video.folders import IMAGE_SUFFIXES, natural_order

__all__ = ["VIMEO_CENTRE", "centre_picture", "find_input_set", "find_truth_set", "nested_clip", "vimeo_names"]

VIMEO_CENTRE = "im4"
"""The fourth of seven frames: the one that Vimeo-90K-T's numbers are about."""

TRUTH_SETS = frozenset(["gt"])
INPUT_SETS = frozenset(name.lower() for layout in LAYOUTS.values() for name in layout.inputs)


def find_truth_set(path: Path) -> Path:
    """The ground truth in a benchmark's folder, or the path itself if it is no such folder."""
    found = _sets(path, TRUTH_SETS)
    return found[0] if found else path


def find_input_set(path: Path) -> Path:
    """The low-resolution set in a benchmark's folder, or the path itself if it is no such folder.

    Raises:
        UsageError: there are several.
    """
    found = _sets(path, INPUT_SETS)
    if len(found) > 1:
        raise UsageError(
            f"{path} holds several low-resolution sets",
            got=", ".join(entry.name for entry in found),
            remedy=f"name one of them, such as {found[0]}",
        )
    return found[0] if found else path


def vimeo_names(path: Path) -> tuple[str, ...]:
    """The clips that Vimeo-90K-T's test list names, such as 00001/0266; none where there is no list.

    Raises:
        InputError: the list names nothing.
    """
    listing = path / VIMEO_LIST
    if not listing.is_file():
        return ()
    names = [line.strip() for line in listing.read_text(encoding="utf-8").splitlines()]
    found = tuple(name for name in names if name)
    if not found:
        raise InputError(f"{listing} names no clip", expected="lines such as 00001/0266")
    return found


def nested_clip(path: Path, name: str) -> Path | None:
    """The folder of a clip named 00001/0266 in a set: in `path`, in its `sequences`, or as 00001_0266."""
    candidates = [path / name, path / "sequences" / name, path / name.replace("/", "_")]
    return next((folder for folder in candidates if folder.is_dir()), None)


def centre_picture(folder: Path) -> Path:
    """Vimeo's scored picture in a clip's folder: im4, or the only one that is there.

    Raises:
        InputError: it is not there.
    """
    entries = [entry for entry in folder.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
    pictures = sorted((entry for entry in entries if not entry.name.startswith(".")), key=natural_order)
    named = [picture for picture in pictures if picture.stem == VIMEO_CENTRE]
    chosen = named or (pictures if len(pictures) == 1 else [])
    if not chosen:
        raise InputError(
            f"{folder} lacks the centre frame", got=_listed(pictures), expected=f"{VIMEO_CENTRE}.png, or one picture"
        )
    return chosen[0]


def _sets(path: Path, names: frozenset[str]) -> list[Path]:
    if not path.is_dir():
        return []
    folders = sorted((entry for entry in path.iterdir() if entry.is_dir()), key=natural_order)
    return [entry for entry in folders if entry.name.lower() in names]


def _listed(pictures: Sequence[Path]) -> str:
    return ", ".join(picture.name for picture in pictures[:4]) or "no picture"
