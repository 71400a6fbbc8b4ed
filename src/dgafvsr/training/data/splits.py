"""What is never trained on: validation folders and the test clips of the field.

    val, valid, validation, test and val_... folders, wherever they lie in the data
    REDS4         clips 000, 011, 015 and 020 of REDS's training set, on which everybody tests
    Vimeo-90K     the clips of sep_testlist.txt
    benchmarks    folders named Vid4, REDS4, VideoLQ, UDM10, SPMCS or Vimeo-90K-T

A path is judged by the names of its last folders, also where a link leads, so that naming such a folder as the training
data is refused, not obeyed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dgafvsr.errors import InputError
from dgafvsr.evaluation.datasets import LAYOUTS

__all__ = ["REDS4", "VIMEO_TRAIN_LIST", "held_out_reason", "refuse_held_out", "vimeo_training_clips"]

REDS4: Final = frozenset(LAYOUTS["reds4"].clips)

VIMEO_TRAIN_LIST: Final = "sep_trainlist.txt"
VIMEO_TEST_LIST: Final = "sep_testlist.txt"

_VALIDATION: Final = re.compile(r"(val|valid|validation)([_-].*)?|tests?|testing", re.IGNORECASE)
_BENCHMARKS: Final = frozenset(re.sub("[^a-z0-9]", "", name) for name in LAYOUTS)
# A folder of this many three-digit clips is REDS, whatever it is called.
_REDS_CLIPS: Final = 200


def held_out_reason(path: Path, *, siblings: Sequence[str] = ()) -> str | None:
    """Why a folder is not for training, None if it is.

    Args:
        path: of the folder; its own name and its parent's count.
        siblings: names of the folders beside it, to know REDS by its clips.
    """
    if _VALIDATION.fullmatch(path.name):
        return "validation or test material by its name"
    if re.sub("[^a-z0-9]", "", path.name.lower()) in _BENCHMARKS:
        return "a benchmark that is tested on"
    if path.name in REDS4 and _is_reds(path.parent.name, siblings):
        return "one of the REDS4 test clips"
    return None


def _is_reds(parent: str, siblings: Sequence[str]) -> bool:
    numbered = sum(bool(re.fullmatch(r"\d{3}", name)) for name in siblings)
    return parent.lower().startswith(("train_", "reds")) or numbered >= _REDS_CLIPS


def refuse_held_out(path: Path) -> None:
    """Refuse a path that is validation material, or lies directly in it.

    Raises:
        InputError: it is.
    """
    for named in (path.absolute(), path.resolve()):
        for part in (named, named.parent, named.parent.parent):
            below = part != named and part.name.lower() in ("test", "tests", "testing")  # common names of work folders
            reason = None if below else held_out_reason(part)
            if reason is not None:
                raise InputError(
                    f"{path} is not trained on: {part.name} is {reason}",
                    remedy="name the training data, or rename the folder if it is",
                )


def vimeo_training_clips(folder: Path) -> tuple[list[str], int]:
    """Names of the septuplets to train on, as `00001/0001`, and how many test clips were left out of that list.

    Raises:
        InputError: the list is missing, so that test clips could not be told from the others.
    """
    listing = folder / VIMEO_TRAIN_LIST
    if not listing.is_file():
        raise InputError(
            f"{folder} looks like Vimeo-90K but has no {VIMEO_TRAIN_LIST}",
            expected="the list of the training clips, which keeps the test clips out",
            remedy="copy the list there",
        )
    names = _read_list(listing)
    escaping = [name for name in names if Path(name).is_absolute() or ".." in Path(name).parts]
    if escaping:
        raise InputError(f"{listing} names clips outside of the data", got=escaping[0], expected="00001/0001")
    tests = folder / VIMEO_TEST_LIST
    tested = set(_read_list(tests)) if tests.is_file() else set()
    kept = [name for name in names if name not in tested]
    return kept, len(names) - len(kept)


def _read_list(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
