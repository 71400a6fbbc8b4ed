"""Which films a batch makes, and what each result is called; settled, and refused where names clash, before any work.

An input is a file, a folder or a pattern:

    film.mkv        the film; its result lies directly in the output folder
    frames/         a folder that holds pictures and no films: one film
    films/          any other folder: the films in it, with `recursive` also those below; their folders are kept
    films/**/*.mp4  what the pattern finds; the folders below its fixed part (films) are kept

Hidden files and folders and the output folder itself are not searched.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from dgafvsr.errors import InputError, OutputError, UsageError
from dgafvsr.evaluation.clips import VIDEO_SUFFIXES
from dgafvsr.video.codecs import CONTAINER_FORMATS
from dgafvsr.video.folders import IMAGE_SUFFIXES, natural_order

__all__ = ["CONTAINERS", "FILM_SUFFIXES", "BatchFile", "Container", "find_inputs", "plan_batch", "read_list"]

FILM_SUFFIXES = VIDEO_SUFFIXES | {".3gp", ".flv", ".m2ts", ".mpeg", ".mts", ".mxf", ".ogv", ".vob", ".wmv"}
"""Files of a folder that are taken as films; a file that is named itself, or by a pattern, may have any name."""

Container = Literal["m4v", "mkv", "mov", "mp4", "pictures", "webm"]
"""What results are: a kind of film, or a folder of pictures."""
CONTAINERS: tuple[Container, ...] = ("m4v", "mkv", "mov", "mp4", "pictures", "webm")
FALLBACK = ".mkv"
"""Of results whose input is of a kind that is not written here: it holds every stream."""

PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True, kw_only=True)
class BatchFile:
    """One film of a batch."""

    source: Path
    """A video file, a folder of pictures or one picture; absolute."""
    target: Path
    """The result; absolute."""
    is_folder: bool
    """Whether the result is a folder of pictures."""


@dataclass(frozen=True, kw_only=True)
class FoundInput:
    """An input and the name that its result keeps."""

    source: Path
    """Absolute."""
    name: PurePath
    """The source's name, with the folders that are kept before it."""


def read_list(text: str) -> list[str]:
    """The inputs of a list: one on a line; empty lines and those that begin with # say nothing."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def plan_batch(
    words: Sequence[str], output: Path, *, container: Container | None = None, recursive: bool = False
) -> list[BatchFile]:
    """The films of a batch with their results, each film once.

    Args:
        words: files, folders and patterns.
        output: the folder of the results; it need not be there yet.
        container: what the results are; None for the kind of the input, and .mkv where that is not written here.
        recursive: whether folders are searched at any depth.

    Raises:
        InputError: nothing is there, or nothing is found.
        OutputError: two films would have one result, or a result would replace an input.
        UsageError: nothing is asked for.
    """
    if not words:
        raise UsageError("There are no inputs", remedy="name files, folders or patterns, or a --list")
    files: dict[Path, BatchFile] = {}
    for found in find_inputs(words, output, recursive=recursive):
        files.setdefault(_same_file(found.source), _planned(found, output.absolute(), container))
    _refuse_clashes(list(files.values()))
    return list(files.values())


def find_inputs(words: Iterable[str], output: Path, *, recursive: bool) -> Iterator[FoundInput]:
    """What the words of a batch name, in their order, folders in natural order.

    Raises:
        InputError: a word names nothing.
    """
    left_out = _same_file(output)
    for word in words:
        path = Path(word)
        if path.is_dir():
            if _same_file(path) == left_out:
                raise OutputError(
                    f"The results would lie among the inputs in {path}", remedy="choose another folder for --output"
                )
            found = list(_in_folder(path, left_out, recursive=recursive))
            if not found:
                raise InputError(
                    f"{path} holds no films and no pictures",
                    remedy="check the path" if recursive else "add --recursive if they lie deeper",
                )
        elif path.exists() or not PATTERN.search(word):
            found = [FoundInput(source=path.absolute(), name=PurePath(path.name))]
        else:
            found = list(_of_pattern(path, left_out))
            if not found:
                raise InputError(f"Nothing is found by {word}", remedy="check the pattern")
        for each in found:
            if not each.source.exists():
                raise InputError(f"{path} does not exist", remedy="check the path")
            yield each


def _in_folder(folder: Path, left_out: Path, *, recursive: bool) -> Iterator[FoundInput]:
    if _is_sequence(folder):
        yield FoundInput(source=folder.absolute(), name=PurePath(PurePath(os.path.realpath(folder)).name))
        return
    for inner, folders, names in os.walk(folder):
        here = Path(inner)
        kept = [each for each in folders if not each.startswith(".") and _same_file(here / each) != left_out]
        for name in _naturally(names, here):
            if Path(name).suffix.lower() in FILM_SUFFIXES:
                yield _named(here / name, folder)
        sequences = {name for name in kept if _is_sequence(here / name)} if recursive else set()
        for name in _naturally(sequences, here):
            yield _named(here / name, folder)
        folders[:] = [path for path in _naturally(kept, here) if path not in sequences] if recursive else []


def _of_pattern(pattern: Path, left_out: Path) -> Iterator[FoundInput]:
    parts = pattern.parts
    fixed = next(index for index, part in enumerate(parts) if PATTERN.search(part))
    base = Path(*parts[:fixed])
    for path in sorted(base.glob(str(Path(*parts[fixed:]))), key=_in_reading_order):
        below = path.relative_to(base)
        is_hidden = any(part.startswith(".") for part in below.parts)
        in_output = left_out in (_same_file(path), *_same_file(path).parents)
        if not is_hidden and not in_output and (path.is_file() or _is_sequence(path)):
            yield _named(path, base)


def _in_reading_order(path: Path) -> list[object]:
    return [natural_order(Path(part)) for part in path.parts]


def _named(path: Path, base: Path) -> FoundInput:
    return FoundInput(source=path.absolute(), name=path.relative_to(base))


def _naturally(names: Iterable[str], folder: Path) -> list[str]:
    return [path.name for path in sorted((folder / name for name in names if name[0] != "."), key=natural_order)]


def _is_sequence(folder: Path) -> bool:
    """Whether a folder is a film: it holds pictures and no films."""
    if not folder.is_dir():
        return False
    suffixes = {entry.suffix.lower() for entry in folder.iterdir() if entry.is_file() and entry.name[0] != "."}
    return bool(suffixes & IMAGE_SUFFIXES) and not suffixes & FILM_SUFFIXES


def _planned(found: FoundInput, output: Path, container: Container | None) -> BatchFile:
    is_film = found.source.is_file() and found.source.suffix.lower() not in IMAGE_SUFFIXES
    is_folder = container == "pictures" or (container is None and not is_film)
    suffix = found.source.suffix.lower() if is_film else ""
    if is_folder:
        name = found.name if found.source.is_dir() else found.name.with_suffix("")
    else:
        kept = suffix if suffix in CONTAINER_FORMATS else FALLBACK
        stem = found.name.name if found.source.is_dir() else found.name.stem
        name = found.name.with_name(f"{stem}{kept if container is None else f'.{container}'}")
    return BatchFile(source=found.source, target=output / name, is_folder=is_folder)


def _refuse_clashes(files: Sequence[BatchFile]) -> None:
    sources = {_folded(_same_file(each.source)): each for each in files}
    targets: dict[str, BatchFile] = {}
    for each in files:
        target = _folded(each.target)
        other = targets.setdefault(target, each)
        if other is not each:
            raise OutputError(
                "Two films would have one result",
                got=f"{other.source} and {each.source}, both as {each.target}",
                remedy="name their common folder with --recursive, quote the pattern, or rename one",
            )
        if _folded(_same_file(each.target)) in sources:
            raise OutputError(f"The result {each.target} would replace an input", remedy="choose another --output")
    for each in files:
        above = next((targets[_folded(up)] for up in each.target.parents if _folded(up) in targets), None)
        if above is not None:
            raise OutputError(
                "A result would lie in another one",
                got=f"{each.target} in that of {above.source}",
                remedy="choose another --output for one of them",
            )


def _same_file(path: Path) -> Path:
    """The path by which a file is known, whatever links lead to it."""
    return Path(os.path.realpath(path))  # unlike resolve() also of a link that leads in a circle


def _folded(path: Path) -> str:
    """What a file system may take as the same name: some know neither case nor the form of accents."""
    return unicodedata.normalize("NFC", str(path)).casefold()
