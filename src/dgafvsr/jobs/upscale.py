"""The main job: a film, four times as wide and as high, as a stream.

Reader -> shots -> windows -> pipeline -> writer. One window of frames is held at a time, so memory does not depend on
the length of the film. Windows start anew at every cut, so nothing is guided across one. The output appears under its
name only when it is complete; on any error, and on Ctrl-C, nothing remains.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from dgafvsr.errors import InputError, ModelError, UsageError
from dgafvsr.jobs.shot_plan import ShotPlan, check_shot_options
from dgafvsr.sampling.windows import check_window, plan_windows, stream_windows
from dgafvsr.video.arrays import MINIMUM_SIDE
from dgafvsr.video.color import to_uint8
from dgafvsr.video.frames import Frame, FrameSink, FrameSource, SourceInfo
from dgafvsr.video.reader import open_source
from dgafvsr.video.writer import Codec, EncoderSettings, open_sink

__all__ = [
    "SCALE",
    "Listener",
    "UpscaleProgress",
    "UpscaleSettings",
    "UpscaleSummary",
    "Upscaled",
    "Upscaler",
    "upscale_file",
]

SCALE = 4


class Upscaled(Protocol):
    """What an upscaler gives back."""

    @property
    def frames(self) -> Any:
        """T 4H 4W C float in [0, 1]."""


class Upscaler(Protocol):
    """What the job needs of a pipeline; `DGAFVSRPipeline` fulfils it."""

    @property
    def device(self) -> Any:
        """Where it runs."""

    @property
    def default_steps(self) -> int:
        """Denoising steps when none are asked for."""

    def __call__(
        self,
        frames: NDArray[np.uint8],
        *,
        num_inference_steps: int | None,
        seed: int,
        window: int | None = None,
        first_frame: int,
        guided: bool,
        output_type: Literal["np"] = "np",
        on_event: Callable[[Any], None],
    ) -> Upscaled:
        """The frames at four times the size.

        Args:
            frames: T H W C uint8 in [0, 255].
            num_inference_steps: denoising steps, None for the default.
            seed: of the noise.
            window: None: all the frames are sampled together.
            first_frame: index of frames[0] in the film; noise belongs to the index.
            guided: whether neighbouring frames guide each other.
            output_type: NumPy.
            on_event: called once for each (step, frame).
        """


@dataclass(frozen=True, kw_only=True)
class UpscaleSettings:
    """How a film is upscaled.

    Raises:
        UsageError: a value out of its range.
    """

    steps: int | None = None
    """Denoising steps, at least 1; None for the model's default."""
    seed: int = 0
    """Of the noise: same seed, same frames."""
    window: int = 24
    """Frames sampled together, at least 1."""
    overlap: int = 4
    """Frames that neighbouring windows share, fewer than `window`."""
    codec: Codec = "h264"
    """Of a video output."""
    crf: int = 16
    """Quality of a video output, 0 (best) to 51 (smallest)."""
    overwrite: bool = False
    """Whether an existing output may be replaced."""
    guided: bool = True
    """Whether neighbouring frames guide each other; False upscales each for itself."""
    detect_shots: bool = True
    """Whether cuts are looked for; False without a list takes the film as one shot."""
    shots: Path | None = None
    """A shot list to follow instead of looking for cuts, None for none."""
    save_shots: Path | None = None
    """Where the shots are written as a list, None for nowhere; `overwrite` holds for it too."""
    frame_rate: Fraction | None = None
    """Frames in a second of a picture folder, None for 24. Videos bring their own."""

    def __post_init__(self) -> None:
        check_window(self.window, self.overlap)
        check_shot_options(detect=self.detect_shots, given=self.shots, save=self.save_shots)
        if self.steps is not None and self.steps < 1:
            raise UsageError("The number of steps is impossible", got=self.steps, expected="at least 1")
        if self.frame_rate is not None and self.frame_rate <= 0:
            raise UsageError("The frame rate is impossible", got=self.frame_rate, expected="above 0")
        if self.codec not in get_args(Codec):
            raise UsageError("The codec is unknown", got=self.codec, expected=f"one of {', '.join(get_args(Codec))}")
        if not 0 <= self.crf <= 51:
            raise UsageError("The crf is out of range", got=self.crf, expected="0 (best) to 51 (smallest)")


@dataclass(frozen=True, kw_only=True)
class UpscaleProgress:
    """How far a job is. Work is counted in (step, frame) units; frames in overlaps count once for each window."""

    frames_done: int
    """Frames handed to the writer."""
    frames_total: int | None
    """Frames of the film; an estimate where the container does not count them; None where nothing is known."""
    work_done: int
    """Units done."""
    work_total: int | None
    """Units in all, as good as `frames_total`."""


@dataclass(frozen=True, kw_only=True)
class UpscaleSummary:
    """What a job did."""

    output: Path
    """The file or folder that was made."""
    frames: int
    """Frames in it."""
    shots: int
    """Shots that the film was taken as, at least 1."""
    width: int
    """Columns of pixels of the output."""
    height: int
    """Rows of pixels of the output."""
    seconds: float
    """Wall time of the job."""
    frames_per_second: float
    """Frames by wall time."""
    peak_memory_bytes: int
    """CUDA: the allocator's peak during the job; else the process's peak resident set so far, 0 where unknown."""
    device: str
    """Where the networks ran."""
    warnings: tuple[str, ...]
    """What the output does not hold or what had to be guessed, one sentence each."""


Listener = Callable[[UpscaleProgress], None]


def upscale_file(
    source: Path | str,
    target: Path | str,
    pipeline: Upscaler,
    settings: UpscaleSettings | None = None,
    listener: Listener | None = None,
) -> UpscaleSummary:
    """The summary of having upscaled a film by four.

    Args:
        source: a video file, a folder of pictures, or one picture; sides of at least 16 pixels.
        target: ends with a video suffix for a file; no suffix, a trailing slash or an existing folder means a folder of
            PNG files. A `Path` has lost its trailing slash; pass a string for that.
        pipeline: the model.
        settings: None for the defaults.
        listener: called after each unit of work and after each window.

    Raises:
        InputError: the source or the shot list cannot be used, or the source breaks in the middle.
        OutputError: the target or the shot list cannot be written, or exists.
        UsageError: the target's suffix is unknown, or a setting does not fit the source.
        ModelError: the model gave NaN or frames of a wrong size.
        ResourceError: the disk is full.
    """
    settings = settings or UpscaleSettings()
    started = time.perf_counter()
    _reset_peak_memory(pipeline.device)
    encoder = EncoderSettings(codec=settings.codec, crf=settings.crf)
    with open_source(source, frame_rate=settings.frame_rate) as reader:
        info = reader.info
        _check_sides(info)
        large = info.resized(width=SCALE * info.width, height=SCALE * info.height)
        with (
            _shot_plan(info, target, settings) as plan,
            open_sink(target, large, encoder, overwrite=settings.overwrite) as sink,
        ):
            _upscale_stream(reader, sink, pipeline, plan, settings, listener)
        warnings = (*info.losses, *reader.warnings, *plan.warnings, *sink.warnings)
    seconds = time.perf_counter() - started
    return UpscaleSummary(
        output=Path(target),
        frames=sink.frames_written,
        shots=plan.count,
        width=large.width,
        height=large.height,
        seconds=seconds,
        frames_per_second=sink.frames_written / seconds,
        peak_memory_bytes=_peak_memory_bytes(pipeline.device),
        device=str(pipeline.device),
        warnings=warnings,
    )


def _check_sides(info: SourceInfo) -> None:
    if min(info.width, info.height) < MINIMUM_SIDE:
        raise InputError(
            f"The pictures of {info.path} are too small",
            got=f"{info.width}x{info.height}",
            expected=f"sides of at least {MINIMUM_SIDE} pixels",
        )


def _shot_plan(info: SourceInfo, target: Path | str, settings: UpscaleSettings) -> ShotPlan:
    return ShotPlan(
        info,
        Path(target),
        detect=settings.detect_shots,
        given=settings.shots,
        save=settings.save_shots,
        overwrite=settings.overwrite,
    )


def _upscale_stream(
    frames: FrameSource,
    sink: FrameSink,
    pipeline: Upscaler,
    plan: ShotPlan,
    settings: UpscaleSettings,
    listener: Listener | None,
) -> None:
    meter = _Meter(frames.info.expected_frames, settings, pipeline.default_steps, listener)
    read = _Counted(frames)
    for shot in plan.split(read):
        meter.entered_shot(shot.start)
        for window, held in stream_windows(shot.frames, settings.window, settings.overlap):
            first_frame = shot.start + window.start
            result = pipeline(
                np.stack([frame.pixels for frame in held]),
                num_inference_steps=settings.steps,
                seed=settings.seed,
                window=None,
                first_frame=first_frame,
                guided=settings.guided,
                output_type="np",
                on_event=meter.worked,
            )
            pictures = np.asarray(result.frames)
            _check_pictures(pictures, held, first_frame)
            for frame, picture in zip(held[window.kept], pictures[window.kept], strict=True):
                sink.write(frame.with_pixels(to_uint8(picture)))
            meter.wrote(sink.frames_written)
    assert sink.frames_written == read.count


def _check_pictures(pictures: NDArray[Any], held: list[Frame], first_frame: int) -> None:
    expected = (len(held), SCALE * held[0].height, SCALE * held[0].width, 3)
    if pictures.shape != expected:
        raise ModelError("The model gave frames of a wrong size", got=pictures.shape, expected=expected)
    for index, picture in enumerate(pictures, start=first_frame):
        if not np.isfinite(picture).all():
            raise ModelError(
                f"The model gave values that are not numbers (NaN) for frame {index}",
                expected="finite values",
                remedy="check the model's weights, or run it in float32",
            )


class _Counted:
    """Passes frames on and counts them, to be held against what was written."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames, self.count = frames, 0

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._frames:
            self.count += 1
            yield frame


class _Meter:
    """Turns events into progress."""

    def __init__(
        self, frames: int | None, settings: UpscaleSettings, default_steps: int, listener: Listener | None
    ) -> None:
        self._steps = default_steps if settings.steps is None else settings.steps
        self._window, self._overlap, self._listener = settings.window, settings.overlap, listener
        self._progress = UpscaleProgress(frames_done=0, frames_total=frames, work_done=0, work_total=None)

    def entered_shot(self, start: int) -> None:
        """Plans the rest of the film as one shot: a cut costs windows, and saves overlaps."""
        if self._progress.frames_total is not None:
            rest = plan_windows(max(1, self._progress.frames_total - start), self._window, self._overlap)
            work = self._steps * sum(window.stop - window.start for window in rest)
            self._progress = replace(self._progress, work_total=self._progress.work_done + work)

    def worked(self, event: Any) -> None:
        self._tell(replace(self._progress, work_done=self._progress.work_done + 1))

    def wrote(self, frames: int) -> None:
        self._tell(replace(self._progress, frames_done=frames))

    def _tell(self, progress: UpscaleProgress) -> None:
        self._progress = progress
        if self._listener is not None:
            self._listener(progress)


def _reset_peak_memory(device: Any) -> None:
    if str(device).startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def _peak_memory_bytes(device: Any) -> int:
    if str(device).startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # bytes on macOS, kibibytes elsewhere
