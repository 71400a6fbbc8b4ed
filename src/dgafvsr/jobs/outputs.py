"""From the pictures of the model to files: the size and depth that were asked for, segments, and the whole.

The model's pictures are reduced to the size of the output in float and rounded once, to the depth that is stored.
Transparency is not the model's business; a Lanczos filter enlarges it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dgafvsr.errors import UsageError
from dgafvsr.jobs.job_folder import OUTPUT, JobFolder
from dgafvsr.jobs.parts import TakenPart
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.sizes import PictureSize, resize
from dgafvsr.jobs.upscaler import SCALE
from dgafvsr.video.atomic import PendingFile, PendingFolder, writing_error
from dgafvsr.video.color import quantize, to_unit
from dgafvsr.video.encoding import Encoding, plan_encoding
from dgafvsr.video.folders import IMAGE_SUFFIXES
from dgafvsr.video.frames import Frame, SourceInfo
from dgafvsr.video.segments import Segment, assemble, write_segment

__all__ = ["JobOutput", "plan_output"]

HALVED_COLOUR = ("420", "422")


def plan_output(target: Path | str, info: SourceInfo, settings: UpscaleSettings) -> JobOutput:
    """The output of a job, with size and encoding settled.

    Args:
        target: a film by its suffix, or a folder.
        info: of the source.
        settings: of the job.

    Raises:
        OutputError: it cannot be written at this size.
        UsageError: the suffix is unknown, or the size or the encoder settings do not fit.
    """
    _check_name(target)
    native = plan_encoding(target, info.resized(width=SCALE * info.width, height=SCALE * info.height), settings.encoder)
    even = not native.is_folder and any(layout in native.pixel_format for layout in HALVED_COLOUR)
    size = settings.size.of(info, even=even)
    large = info.resized(width=size.width, height=size.height)
    return JobOutput(
        target=Path(target),
        info=large,
        encoding=plan_encoding(target, large, settings.encoder),
        overwrite=settings.overwrite,
        notes=settings.size.notes(size, info),
    )


def _check_name(target: Path | str) -> None:
    if target == "-":
        raise UsageError(
            "The output cannot be a pipe",
            got="-",
            expected="the name of a film or a folder",
            remedy="name a file; for a folder of that name write ./-",
        )
    try:
        Path(target).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:  # the name is too long, or nobody may look into the folder
        raise writing_error(Path(target), error) from error


class JobOutput:
    """Where the pictures of a job go.

    Args:
        target: the film or folder that will be made.
        info: of the pictures that will be stored; its path is the source.
        encoding: how they are stored.
        overwrite: whether an existing output may be replaced.
        notes: what there is to say about the size.
    """

    def __init__(
        self,
        *,
        target: Path,
        info: SourceInfo,
        encoding: Encoding,
        overwrite: bool,
        notes: Sequence[str],
    ) -> None:
        self.target, self.info, self.encoding, self.notes = target, info, encoding, tuple(notes)
        self._overwrite = overwrite

    def check(self, job: JobFolder) -> None:
        """Raise OutputError if the output exists, is the source, or cannot be written."""
        self._pending(job).discard()

    def _pending(self, job: JobFolder) -> PendingFile | PendingFolder:
        """The output under a hidden name; making it is the proof that it can be written.

        The name lies in the job folder, so that a kill leaves nothing anywhere else; if that is on another disk, beside
        the output.
        """
        parent, source = self.target.absolute().parent, self.info.path
        same_disk = parent.is_dir() and parent.stat().st_dev == job.path.stat().st_dev
        hidden = job.path / OUTPUT if same_disk else None
        if self.encoding.is_folder:
            return PendingFolder(
                self.target, overwrite=self._overwrite, source=source, may_hold=IMAGE_SUFFIXES, hidden=hidden
            )
        return PendingFile(self.target, overwrite=self._overwrite, source=source, hidden=hidden)

    def store(self, place: Path, frames: Sequence[Frame], pictures: Iterable[NDArray[Any]]) -> Segment:
        """The segment of a window, written.

        Args:
            place: where it belongs.
            frames: of the source.
            pictures: what the model made of them, 4H 4W 3 float in [0, 1]; each is taken when it is stored.

        Raises:
            OutputError: the encoder or the system refuses.
            ResourceError: the disk is full.
        """
        return write_segment(place, self._made(frames, pictures), self.info, self.encoding)

    def _made(self, frames: Sequence[Frame], pictures: Iterable[NDArray[Any]]) -> Iterator[Frame]:
        size = PictureSize(width=self.info.width, height=self.info.height)
        depth = self.encoding.bit_depth
        for frame, picture in zip(frames, pictures, strict=True):
            alpha = None
            if frame.alpha is not None and self.encoding.alpha:
                alpha = quantize(resize(to_unit(frame.alpha), size), depth)
            yield frame.with_pixels(quantize(resize(picture, size), depth), alpha)

    def publish(
        self, job: JobFolder, part: TakenPart | None = None, on_share: Callable[[float], None] = lambda share: None
    ) -> tuple[str, ...]:
        """Put all finished windows together, verify the whole and give it its name.

        Args:
            job: with every window finished.
            part: of the film, all its frames read; None for the whole film.
            on_share: told in between what part is done, in (0, 1].

        Returns:
            What the output does not hold, one sentence each.

        Raises:
            OutputError: a segment is damaged, the result is incomplete, or the name was taken meanwhile.
            ResourceError: the disk is full.
        """
        made = job.result / self.target.name
        warnings = assemble(
            job.segments,
            made,
            self.info,
            self.encoding,
            start_seconds=None if part is None else part.start_seconds,
            stop_seconds=None if part is None else part.stop_seconds,
            on_share=on_share,
        )
        pending = self._pending(job)
        try:
            pending.discard()
            shutil.move(made, pending.path)
            with job.naming(pending.path, self.target):
                pending.publish()
        except OSError as error:
            raise writing_error(self.target, error) from error
        finally:
            pending.discard()
        return warnings
