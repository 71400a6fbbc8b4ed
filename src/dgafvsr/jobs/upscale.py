"""The main job: a film, up to four times as wide and as high, as a stream that can be stopped and gone on with.

    reader -> shots (shot_plan) -> windows -> pipeline (stream) -> sizes -> segments in the job folder -> output

One window of frames is in work at a time and one is being stored, so memory does not depend on the length of the film.
Windows start anew at every cut, so nothing is guided across one. What is finished stays in the job folder
(job_folder, manifest); the same call goes on from there and gives the same frames as a run that was never stopped. The
output appears under its name only when it is complete and verified.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from dgafvsr.errors import InputError, InterruptionError, OutputError
from dgafvsr.jobs.fallback import FallbackUpscaler, Reduction
from dgafvsr.jobs.fingerprints import fingerprint_input, fingerprint_model, fingerprint_program
from dgafvsr.jobs.job_folder import JobFolder, job_folder_of
from dgafvsr.jobs.manifest import FORMAT, Manifest
from dgafvsr.jobs.outputs import JobOutput, plan_output
from dgafvsr.jobs.parts import TakenPart
from dgafvsr.jobs.peak_memory import peak_memory_bytes, reset_peak_memory
from dgafvsr.jobs.progress import Listener, Meter, Phase, UpscaleProgress
from dgafvsr.jobs.sampling_plan import SamplingPlan, plan_sampling, with_fallback
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.shot_plan import ShotPlan
from dgafvsr.jobs.stopping import check_stop
from dgafvsr.jobs.stream import WindowStream
from dgafvsr.jobs.upscaler import Upscaler
from dgafvsr.video.arrays import MINIMUM_SIDE
from dgafvsr.video.frames import FrameSource, SourceInfo
from dgafvsr.video.reader import open_source
from dgafvsr.video.shots import ShotStream
from dgafvsr.video.stream_plan import foreseen_losses

__all__ = ["Machinery", "UpscaleSummary", "open_film", "upscale_file"]


class Streaming(Protocol):
    """`WindowStream` or what takes its place."""

    def __call__(
        self,
        upscaler: FallbackUpscaler,
        job: JobFolder,
        output: JobOutput,
        settings: UpscaleSettings,
        *,
        plan: SamplingPlan,
        meter: Meter,
        wants_stop: Callable[[], bool],
        first_frame: int,
    ) -> Stream:
        """What takes a film's shots through the model."""


class Stream(Protocol):
    """What takes a film's shots through the model and into the job folder."""

    def run(self, shots: Iterable[ShotStream]) -> int:
        """How many frames the shots have; each of them is finished in the job folder."""


@dataclass(frozen=True, kw_only=True)
class Machinery:
    """Who plans and samples the windows of a job: this process, unless a cluster does."""

    plan: Callable[[Upscaler, SourceInfo, UpscaleSettings], SamplingPlan] = plan_sampling
    """Settles window and tile of a new job."""
    stream: Streaming = WindowStream
    """Samples the windows."""


@dataclass(frozen=True, kw_only=True)
class UpscaleSummary:
    """What a job did."""

    output: Path
    """The file or folder that was made."""
    frames: int
    """Frames in it."""
    frames_resumed: int
    """Those of them that an earlier run had finished."""
    shots: int
    """Shots that the film was taken as, at least 1."""
    width: int
    """Columns of pixels of the output."""
    height: int
    """Rows of pixels of the output."""
    window: int
    """Frames that were sampled together at most."""
    tile: int | None
    """Side of the tiles that frames were sampled in, in pixels of the film; None for whole frames."""
    seconds: float
    """Wall time of this run."""
    frames_per_second: float
    """Frames made in this run by its wall time."""
    peak_memory_bytes: int
    """CUDA: the allocator's peak during the run; else the process's peak resident set so far, 0 where unknown."""
    device: str
    """Where the networks ran."""
    warnings: tuple[str, ...]
    """What the output does not hold or what had to be guessed, one sentence each."""


def upscale_file(
    source: Path | str,
    target: Path | str,
    pipeline: Upscaler,
    settings: UpscaleSettings | None = None,
    listener: Listener | None = None,
    *,
    wants_stop: Callable[[], bool] = bool,
    machinery: Machinery | None = None,
) -> UpscaleSummary:
    """The summary of having upscaled a film.

    Args:
        source: a video file, a folder of pictures, or one picture; sides of at least 16 pixels.
        target: ends with a video suffix for a file; no suffix, a trailing slash or an existing folder means a folder of
            pictures. A `Path` has lost its trailing slash; pass a string for that.
        pipeline: the model.
        settings: None for the defaults.
        listener: called before the work begins, after each unit of it, and after each window.
        wants_stop: asked after each unit of work, also of checking and assembling; once it says True, the job stops and
            keeps what is finished.
        machinery: None for this process.

    Raises:
        InputError: the source or the shot list cannot be used, is not the one that the job was begun with, or the
            source breaks in the middle.
        OutputError: the target, the job folder or the shot list cannot be written, or exists.
        UsageError: a setting is unknown, does not fit the source, or is not the one that the job was begun with.
        ModelError: the model gave NaN or frames of a wrong size, or is not the one that the job was begun with.
        ResourceError: the memory or the disk is full.
        InterruptionError: `wants_stop` said True.
    """
    settings = settings or UpscaleSettings()
    started = time.perf_counter()
    reset_peak_memory(pipeline.device)
    with open_film(source, settings) as reader:
        _check_sides(reader.info)
        output = plan_output(target, reader.info, settings)
        folder = settings.job.folder or job_folder_of(output.target)
        with _shot_plan(reader.info, output.target, settings) as plan, JobFolder(folder, keep=settings.job.keep) as job:
            output.check(job)
            run = _Run(reader, output, job, pipeline, settings, machinery or Machinery(), listener, wants_stop)
            try:
                frames = run.upscale(plan)
                notes = [note for record in job.finished for note in record.notes]
                warnings = (*run.notes, *notes, *output.publish(job, run.part, run.telling("assembling")))
            except Exception as error:
                _say_how_to_go_on(error, job, restart=settings.job.restart)
                raise
            job.complete()
        warnings = (*reader.info.losses, *reader.warnings, *plan.warnings, *warnings)
    seconds = time.perf_counter() - started
    return UpscaleSummary(
        output=output.target,
        frames=frames,
        frames_resumed=run.frames_resumed,
        shots=plan.count,
        width=output.info.width,
        height=output.info.height,
        window=run.plan.window,
        tile=run.plan.tile,
        seconds=seconds,
        frames_per_second=(frames - run.frames_resumed) / seconds,
        peak_memory_bytes=peak_memory_bytes(pipeline.device),
        device=str(pipeline.device),
        warnings=warnings,
    )


class _Run:
    """One run of a job, from the agreement with what earlier runs have left to the last window."""

    def __init__(
        self,
        reader: FrameSource,
        output: JobOutput,
        job: JobFolder,
        pipeline: Upscaler,
        settings: UpscaleSettings,
        machinery: Machinery,
        listener: Listener | None,
        wants_stop: Callable[[], bool],
    ) -> None:
        self._reader, self._output, self._job = reader, output, job
        self._pipeline, self._settings, self._machinery = pipeline, settings.resolved(pipeline), machinery
        self._listener, self._wants_stop = listener, wants_stop
        self.part: TakenPart | None = None
        """The part of the film that is made, None for all of it."""
        self.plan = self._agree()
        self.notes: tuple[str, ...] = output.notes
        """What there was to say before the first window."""
        self.frames_resumed = 0
        """Frames that an earlier run had finished."""

    def _agree(self) -> SamplingPlan:
        """The plan of the job that the folder holds when it returns: a new one, or one to go on with."""
        begun, path = self._job.manifest, self._job.path
        if self._settings.job.restart:
            begun = None
        elif begun is None and self._job.finished:
            raise OutputError(f"The job in {path} has lost its manifest", remedy="start over with --restart")
        program = {"format": FORMAT, **fingerprint_program()}
        source = fingerprint_input(self._reader.info.path)
        told = self._settings.told(self._output.encoding)
        if begun is not None:  # before the model is loaded: a wrong option costs no waiting
            begun.check(path, program=program, source=source, settings=told)
        self._meter = self._foretell()
        model = {"sha256": fingerprint_model(self._pipeline), "device": str(self._pipeline.device).partition(":")[0]}
        if begun is not None:
            begun.check(path, model=model)
            return SamplingPlan(**begun.plan)
        plan = self._machinery.plan(self._pipeline, self._reader.info, self._settings)
        self._job.begin(Manifest(program=program, source=source, settings=told, model=model, plan=asdict(plan)))
        return plan

    def telling(self, phase: Phase) -> Callable[[float], None]:
        """What tells how far checking or assembling is, and looks whether somebody wants it to stop."""

        def tell(share: float) -> None:
            self._meter.entered(phase, share)
            check_stop(self._wants_stop)

        return tell

    def _foretell(self) -> Meter:
        """Tell what will be lost while nothing is lost yet, not even the time to load the model."""
        info, part = self._reader.info, self._settings.part
        begin = UpscaleProgress(
            frames_done=0,
            frames_total=info.expected_frames if part is None else part.expected_frames(info),
            work_done=0,
            work_total=None,
            notes=(*self._output.notes, *foreseen_losses(self._output.info, self._output.encoding)),
        )
        meter = Meter(begin, self._listener)
        meter.began()
        return meter

    def upscale(self, plan: ShotPlan) -> int:
        """How many frames the output has; every one of them is finished in the job folder."""
        self.notes += self._job.verify(self.telling("checking"))
        self.frames_resumed = sum(record.frames for record in self._job.unspoilt)
        settings = self._settings
        first, frames = None, iter(self._reader)
        if settings.part is not None:
            self.part = settings.part.take(self._reader)
            first, frames = self.part.first_index, self.part.frames
        self._meter.planned(
            steps=settings.steps or self._pipeline.default_steps, window=self.plan.window, overlap=self.plan.overlap
        )
        self._meter.entered("upscaling")
        self._meter.noted(self.notes)
        finished = self._job.finished
        # The frames depend on it: a job that had to do with less goes on with less.
        reduction = Reduction(**finished[-1].reduction) if finished else None
        stream = self._machinery.stream(
            with_fallback(self._pipeline, self.plan, reduction, settings.sampling.reuse),
            self._job,
            self._output,
            settings,
            plan=self.plan,
            meter=self._meter,
            wants_stop=self._wants_stop,
            first_frame=first or 0,
        )
        count = stream.run(plan.split(frames, first_frame=first))
        kept = sum(record.frames for record in self._job.finished)
        if kept != count:  # windows of an earlier run that read the film otherwise, such as over damage
            raise OutputError(
                f"The windows in {self._job.path} are not those of the film",
                got=f"{kept} frames",
                expected=count,
                remedy="start over with --restart",
            )
        return count


def open_film(source: Path | str, settings: UpscaleSettings) -> FrameSource:
    """The film of a job, as its settings read it.

    Raises:
        InputError: it cannot be used.
        UsageError: a setting does not fit it.
    """
    return open_source(
        source,
        frame_rate=settings.frame_rate,
        limits=settings.limits,
        deinterlace=settings.deinterlace,
        on_error=settings.on_error,
    )


def _check_sides(info: SourceInfo) -> None:
    if min(info.width, info.height) < MINIMUM_SIDE:
        raise InputError(
            f"The pictures of {info.path} are too small",
            got=f"{info.width}x{info.height}",
            expected=f"sides of at least {MINIMUM_SIDE} pixels",
        )


def _shot_plan(info: SourceInfo, target: Path, settings: UpscaleSettings) -> ShotPlan:
    return ShotPlan(
        info,
        target,
        detect=settings.detect_shots,
        given=settings.shots,
        save=settings.save_shots,
        overwrite=settings.overwrite,
    )


def _say_how_to_go_on(error: Exception, job: JobFolder, *, restart: bool) -> None:
    """Adds to an error of a job that has come somewhere how to go on with it."""
    finished = sum(record.frames for record in job.finished)
    if isinstance(error, InterruptionError) or finished:
        command = "the same command without --restart" if restart else "the same command"
        kept = f"{finished} finished frames are kept in {job.path}; {command} goes on from there"
        error.add_note(kept if finished else "No window was finished, nothing is kept")
