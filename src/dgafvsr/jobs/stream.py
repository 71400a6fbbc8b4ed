"""The stream of a job: shots -> windows -> pipeline -> pictures, window after window.

Each window's frames are decoded and stored on another thread, picture after picture, while the next window is sampled.
A window that an earlier run has finished is passed over: its frames are read, so that shots and times stay exact, and
nothing else is done with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save

from dgafvsr.errors import InterruptionError, ModelError
from dgafvsr.host_memory import return_freed_memory
from dgafvsr.interruption import Wish
from dgafvsr.jobs.background import WriteBehind, own_stream
from dgafvsr.jobs.fallback import FallbackResult, FallbackUpscaler, FrugalFrames, Reduction
from dgafvsr.jobs.job_folder import JobFolder
from dgafvsr.jobs.manifest import WindowRecord
from dgafvsr.jobs.outputs import JobOutput
from dgafvsr.jobs.progress import Meter
from dgafvsr.jobs.sampling_plan import SamplingPlan
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.stopping import check_stop, until_stopped
from dgafvsr.jobs.upscaler import SCALE
from dgafvsr.sampling.sampler import StepEvent
from dgafvsr.sampling.seams import SeamState
from dgafvsr.sampling.windows import Window, stream_windows
from dgafvsr.video.color import to_unit
from dgafvsr.video.frames import Frame
from dgafvsr.video.shots import ShotStream

__all__ = ["SampledWindow", "WindowSampler", "WindowStream", "visits_of"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SampledWindow:
    """What a window gave out, on its way to the disk."""

    frames: list[Frame]
    """The frames of the film that it gave out."""
    pictures: FrugalFrames
    """Their pictures, 4H 4W 3 float in [0, 1], still to be decoded."""
    record: WindowRecord
    """Without the checksum of what is still to be written."""
    left: SeamState | None
    """What the next window needs."""
    state: bytes | None
    """The same as safetensors."""

    def store(self, output: JobOutput, place: Path, *, first_frame: int, wants_stop: Wish = bool) -> WindowRecord:
        """The record of the window, whose pictures are decoded and stored.

        Args:
            output: what stores them.
            place: where they belong.
            first_frame: index in the film of the first frame of the job, for messages.
            wants_stop: asked before every picture.

        Raises:
            InterruptionError: `wants_stop` said True.
            ModelError: the model gave NaN or frames of a wrong size.
            OutputError: the encoder or the system refuses.
            ResourceError: the memory or the disk is full.
        """
        pictures = _checked(self.pictures, self.frames, first_frame + self.record.start)
        segment = output.store(place, self.frames, until_stopped(pictures, wants_stop))
        return replace(
            self.record.stored_as(segment),
            notes=(*self.record.notes, *self.pictures.notes),
            reduction={**self.record.reduction, "decoding_tile": self.pictures.tile},
        )


class WindowSampler:
    """Takes single windows of a film through the model.

    Args:
        upscaler: the model.
        settings: of the job.
        plan: in which tiles frames are sampled, and how many windows in lockstep.
        first_frame: index in the film of the first frame of the first shot.
        on_event: called after every step of every frame.
    """

    def __init__(
        self,
        upscaler: FallbackUpscaler,
        settings: UpscaleSettings,
        *,
        plan: SamplingPlan,
        first_frame: int,
        on_event: Callable[[object], None],
    ) -> None:
        self._upscaler, self._settings, self._plan = upscaler, settings, plan
        self._first_frame, self._on_event = first_frame, on_event

    def sample(
        self,
        held: list[Frame],
        window: Window,
        *,
        shot_start: int,
        state: SeamState | None,
        begun_from_sha256: str | None,
    ) -> SampledWindow:
        """What the window gives out.

        Args:
            held: its frames.
            window: its place in its shot.
            shot_start: index of the first frame of the shot.
            state: what the window before has left, None without a head.
            begun_from_sha256: of that state.

        Raises:
            ModelError: the model gave NaN.
            ResourceError: the memory is full.
        """
        start = shot_start + window.start
        said = len(self._upscaler.warnings)
        result = self._run_model(held, window, start, state)
        left = result.state
        content = None if left is None else save(dict(left))
        record = WindowRecord(
            start=start,
            shot_start=shot_start,
            sampled=len(held),
            head=window.head,
            begun_from_sha256=begun_from_sha256,
            frames=window.emitted,
            state_sha256=None if content is None else hashlib.sha256(content).hexdigest(),
            reduction=asdict(self._upscaler.reduction),
            notes=tuple(self._upscaler.warnings[said:]),
        )
        return SampledWindow(
            frames=held[: window.emitted], pictures=result.frames, record=record, left=left, state=content
        )

    def _run_model(self, held: list[Frame], window: Window, start: int, state: SeamState | None) -> FallbackResult:
        return self._upscaler(
            np.stack([to_unit(frame.pixels) for frame in held]),
            num_inference_steps=self._settings.steps,
            seed=self._settings.seed,
            first_frame=self._first_frame + start,
            guided=self._settings.guided,
            state=state if window.head else None,
            tail=window.tail,
            tile=self._plan.tile,
            tile_overlap=self._settings.tile_overlap,
            output_type="lazy",
            on_event=self._on_event,
            **self._plan.together,
            **self._settings.sampling_options,
        )


class WindowStream:
    """Takes a film's shots through the model and into the job folder.

    Args:
        upscaler: the model.
        job: where finished windows are.
        output: what makes pictures of frames and stores them.
        settings: of the job.
        plan: how many frames are sampled together, and in which tiles.
        meter: told of the progress.
        wants_stop: asked after every step and every frame.
        first_frame: index in the film of the first frame of the first shot.
    """

    def __init__(
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
    ) -> None:
        self._job, self._output, self._plan = job, output, plan
        self._meter, self._wants_stop, self._first_frame = meter, wants_stop, first_frame
        self._upscaler, self._device, self._writer = upscaler, upscaler.device, WriteBehind(self._store)
        self._sampler = WindowSampler(upscaler, settings, plan=plan, first_frame=first_frame, on_event=self._worked)

    def run(self, shots: Iterable[ShotStream]) -> int:
        """How many frames the shots have; each of them is finished in the job folder.

        Raises:
            InterruptionError: somebody wants it to stop. What is finished stays finished.
            ModelError: the model gave NaN or frames of a wrong size.
            InputError: the source breaks in the middle.
            ResourceError: the memory or the disk is full.
        """
        frames, behind = 0, list[SampledWindow]()

        def written() -> None:
            for sampled in behind:
                self._meter.noted(sampled.pictures.notes)
                self._meter.finished(sampled.record.frames)
            behind.clear()

        return_freed_memory()  # of loading the model: weights of another precision, files
        with self._writer as writer:
            try:
                for shot in shots:
                    self._meter.entered_shot(shot.start)
                    for sampled in self._sample(shot):
                        self._meter.noted(sampled.record.notes)
                        writer.wait()  # until the one before is on the disk
                        written()
                        return_freed_memory()  # left in sizes that storing and the next window do not ask for
                        writer.put(sampled)
                        behind.append(sampled)
                    frames = self._stop
            except InterruptionError:
                self._meter.entered("stopping")
                raise
        written()
        return frames

    def _sample(self, shot: ShotStream) -> Iterator[SampledWindow]:
        state: SeamState | None = None  # None too where the window before was not sampled in this run
        state_sha256: str | None = None
        for window, held in stream_windows(
            until_stopped(shot.frames, self._wants_stop), self._plan.stretch, self._plan.overlap
        ):
            start = shot.start + window.start
            self._stop = start + window.emitted
            begun_from = state_sha256 if window.head else None
            kept = self._job.kept(start, sampled=len(held), shot_start=shot.start, state_sha256=begun_from)
            if kept is not None:
                self._meter.skipped(sampled=self._plan.visits(kept.sampled), emitted=kept.frames)
                state, state_sha256 = None, kept.state_sha256
                continue
            if window.head and state is None:
                state = self._job.state_before(start)
            lost = self._job.lost(start)
            with nullcontext() if lost is None else self._upscaler.reduced_to(Reduction(**lost.reduction)):
                sampled = self._sampler.sample(
                    held, window, shot_start=shot.start, state=state, begun_from_sha256=begun_from
                )
            state, state_sha256 = sampled.left, sampled.record.state_sha256
            yield sampled

    def _worked(self, event: object) -> None:
        self._meter.worked(visits_of(event))
        check_stop(self._wants_stop)

    def _store(self, sampled: SampledWindow) -> None:
        place = self._job.place_for(sampled.record.start)
        with own_stream(self._device):
            record = sampled.store(
                self._output, place, first_frame=self._first_frame, wants_stop=lambda: self._writer.given_up
            )
        self._job.finish(record, sampled.state)
        return_freed_memory()


def visits_of(event: object) -> int:
    """Units of work that an event of a model stands for: one for each window in lockstep."""
    return event.windows if isinstance(event, StepEvent) else 1


def _checked(pictures: FrugalFrames, given: list[Frame], first_frame: int) -> Iterator[NDArray[np.float32]]:
    """The same pictures, one for each frame given; ModelError if there is another number or one cannot be stored."""
    made = iter(pictures)
    for index, frame in enumerate(given, start=first_frame):
        picture = next(made, None)
        expected = (SCALE * frame.height, SCALE * frame.width, 3)
        if picture is None or picture.shape != expected:
            got = "none" if picture is None else picture.shape
            raise ModelError(f"The model gave a frame of a wrong size for frame {index}", got=got, expected=expected)
        if not np.isfinite(picture).all():
            raise ModelError(
                f"The model gave values that are not numbers (NaN) for frame {index}",
                expected="finite values",
                remedy="check the model's weights, or run it in float32",
            )
        yield picture
    if next(made, None) is not None:
        raise ModelError("The model gave too many frames", expected=len(given))
