"""Before and after: pictures for a slider, and a film of which one half is the source and the other the result.

A part of a film has no film of its own to be compared with, so the source's frames of that part are stored without loss
for a moment. What is compared ends after some seconds; nobody judges a film by laying hours side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from PIL import Image

from dgafvsr.apps.web.progress import JobProgress
from dgafvsr.apps.web.records import Film, Job
from dgafvsr.apps.web.uploads import picture_of
from dgafvsr.errors import InterruptionError
from dgafvsr.interruption import Wish
from dgafvsr.jobs.compare import CompareSettings, compare_films
from dgafvsr.video.codecs import EncoderSettings
from dgafvsr.video.color import at_depth
from dgafvsr.video.frames import Frame
from dgafvsr.video.reader import VideoReader
from dgafvsr.video.writer import open_sink

__all__ = ["compare_result", "pick", "picture_names"]

COMPARED_SECONDS = 10
PICTURES = 5
CUT, SPLIT = "source.mkv", "split.mp4"


def compare_result(
    job: Job, source: Path, film: Film, shown: Path, tell: Callable[[JobProgress], None], wants_stop: Wish
) -> Job:
    """The job with its pictures and its split film, which lie in `shown`.

    Args:
        job: its result is complete.
        source: the film's file.
        film: what the job was made of.
        shown: the folder of the result.
        tell: is told how far it is.
        wants_stop: asked after each frame.

    Raises:
        InterruptionError: `wants_stop` said True.
        InputError: a film cannot be read.
        OutputError: something cannot be written.
        ResourceError: the disk is full.
    """
    assert job.output is not None
    tell(JobProgress(phase="Comparing", share=0.0))

    def listen(done: int, total: int | None) -> None:
        if wants_stop():
            raise InterruptionError("The comparison was stopped")
        tell(JobProgress(phase="Comparing", share=None if not total else min(1.0, done / total)))

    cut, result = shown / CUT, shown / job.output
    try:
        _cut(job, source, film, cut, wants_stop)
        compare_films(
            cut,
            result,
            shown / SPLIT,
            CompareSettings(layout="split", labels=("before", "after"), overwrite=True),
            listen,
        )
        return replace(job, split=SPLIT, moments=_save_pictures(cut, result, shown))
    finally:
        cut.unlink(missing_ok=True)


def _cut(job: Job, source: Path, film: Film, target: Path, wants_stop: Wish) -> None:
    """Put the job's part of the film, or its beginning, into `target`: 8 bits, without loss, without sound."""
    reader = VideoReader(source, deinterlace=film.interlaced)
    part = job.part
    frames: Iterator[Frame] = iter(reader) if part is None else part.take(reader).frames
    most = max(1, round(COMPARED_SECONDS * reader.info.frame_rate))
    info = replace(reader.info, path=target.parent, bit_depth=8, has_alpha=False, audio_codecs=(), other_streams=())
    with open_sink(target, info, EncoderSettings(codec="ffv1"), overwrite=True) as sink:
        for frame in islice(frames, most):
            if wants_stop():
                raise InterruptionError("The comparison was stopped")
            sink.write(frame.with_pixels(at_depth(frame.pixels, 8)))


def pick(count: int) -> tuple[int, ...]:
    """Indices of at most PICTURES frames, spread over so many, none of them twice."""
    wanted = min(PICTURES, count)
    return tuple((2 * index + 1) * count // (2 * wanted) for index in range(wanted))


def picture_names(index: int) -> tuple[str, str]:
    """File names of the picture before and after, by the place of the moment among the job's."""
    return f"{index}_before.png", f"{index}_after.png"


def _save_pictures(cut: Path, result: Path, shown: Path) -> tuple[float, ...]:
    """The moments, in seconds, whose pictures are now in `shown`; those before are enlarged by a bicubic filter."""
    before, after = VideoReader(cut), VideoReader(result)
    count = before.info.frame_count or sum(1 for _ in before)
    chosen, moments = pick(count), list[float]()
    first: Frame | None = None
    for index, (small, large) in enumerate(zip(before, after, strict=False)):
        first = first or small
        if index in chosen:
            after_picture = Image.fromarray(picture_of(large, after.info))
            before_picture = Image.fromarray(picture_of(small, before.info))
            names = picture_names(len(moments))
            before_picture.resize(after_picture.size, Image.Resampling.BICUBIC).save(shown / names[0])
            after_picture.save(shown / names[1])
            moments.append(float(small.pts_seconds - first.pts_seconds))
        if index >= max(chosen):
            break
    return tuple(moments)
