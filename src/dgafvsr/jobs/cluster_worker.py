"""What a worker of a cluster does: one window of a film after the other, with the model kept loaded.

A worker reads the film itself and puts the pictures of a window, and the state that the next window needs, into the job
folder; both lie on storage that all machines share. Only the driver counts a window as finished. The same window gives
the same bytes on every worker, so a window whose worker died is simply done again.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load

from dgafvsr import __version__
from dgafvsr.errors import DGAFVSRError, InputError, OutputError
from dgafvsr.host_memory import keep_freed_memory, return_freed_memory
from dgafvsr.jobs.fallback import Reduction
from dgafvsr.jobs.manifest import WindowRecord, write_durably
from dgafvsr.jobs.memory import available_bytes
from dgafvsr.jobs.outputs import JobOutput
from dgafvsr.jobs.sampling_plan import SamplingPlan, with_fallback
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.stopping import stopped
from dgafvsr.jobs.stream import WindowSampler, visits_of
from dgafvsr.jobs.upscale import open_film
from dgafvsr.jobs.upscaler import Upscaler
from dgafvsr.sampling.windows import Window
from dgafvsr.video.frames import Frame, FrameSource

__all__ = ["FilmFrames", "FilmTask", "WindowTask", "Worker", "WorkerFacts", "versions"]


@dataclass(frozen=True, kw_only=True)
class WorkerFacts:
    """What a worker says of itself before any work."""

    machine: str
    """Name of its machine."""
    process: int
    """Its process there."""
    versions: dict[str, str]
    """Of what the frames depend on."""
    device: str
    """Where its model will run."""
    dtype: str
    """Of the weights that suit the device."""
    memory_bytes: int
    """Free memory of the device; of a machine's own memory all its workers take their share."""


@dataclass(frozen=True, kw_only=True)
class FilmTask:
    """What all windows of a film share."""

    source: Path
    """The film, absolute."""
    settings: UpscaleSettings
    """Of the job."""
    output: JobOutput
    """What stores pictures."""
    plan: SamplingPlan
    """Of the job."""
    first_frame: int
    """Index in the film of the first frame that is made."""


@dataclass(frozen=True, kw_only=True)
class WindowTask:
    """One window, as a worker needs to know it. Frames are counted from the first that the job makes."""

    film: FilmTask
    """Its film."""
    shot_start: int
    """Index of the first frame of its shot."""
    window: Window
    """Its place in the shot."""
    begun_from_sha256: str | None
    """Of the state that it begins with, None for none."""
    reduction: Reduction
    """What the memory had made smaller before."""
    place: Path
    """Of its segment."""
    state_before: Path | None
    """Where the window before has put its state, None without a head."""
    state_after: Path
    """Where its own belongs."""

    @property
    def start(self) -> int:
        """Index of its first frame."""
        return self.shot_start + self.window.start

    @property
    def frames(self) -> int:
        """How many are sampled."""
        return self.window.stop - self.window.start


class FilmFrames:
    """Frames of an opened film by their numbers; reading on is cheap, going back opens the film anew.

    Args:
        task: of the film.

    Raises:
        InputError: the film cannot be opened.
    """

    def __init__(self, task: FilmTask) -> None:
        self._settings, self._first_frame = task.settings, task.first_frame
        self._open = ExitStack()
        self._reader: FrameSource = self._open.enter_context(open_film(task.source, task.settings))
        self._frames: Iterator[Frame] | None = None
        self._next = 0
        self._held = deque[Frame](maxlen=task.plan.stretch)

    def take(self, start: int, count: int) -> list[Frame]:
        """The frames [start, start + count), at most as many as are in a window.

        Raises:
            InputError: the film ends before, or is damaged.
        """
        if self._frames is None or not self._next - len(self._held) <= start <= self._next:
            self._go_to(start)
        assert self._frames is not None
        missing = start + count - self._next
        for frame in islice(self._frames, max(0, missing)):
            self._held.append(frame)
            self._next += 1
        if start + count > self._next:
            raise InputError(
                f"{self._reader.info.path} is shorter on this machine",
                got=f"{self._next} frames",
                expected=f"at least {start + count}",
                remedy="give all machines the same file",
            )
        first = start - (self._next - len(self._held))
        return list(islice(self._held, first, first + count))

    def _go_to(self, start: int) -> None:
        self._held.clear()
        if self._settings.part is not None:
            self._frames = islice(self._settings.part.take(self._reader).frames, start, None)
        elif start == 0:
            self._frames = iter(self._reader)
        else:
            placed = self._reader.read_from(lambda index, seconds: index >= start)
            self._frames = (each.frame for each in placed)
        self._next = start

    def close(self) -> None:
        """Let the film go."""
        self._open.close()


class Worker:
    """A process of a cluster, with its own copy of the model.

    Args:
        choose: the device and the dtype that suit this machine, by their names.
        threads: that torch computes with on the CPU; None leaves it to torch.
    """

    def __init__(self, choose: Callable[[], tuple[str, str]], threads: int | None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        keep_freed_memory()
        self._choose, self._device = choose, "cpu"
        self._model: tuple[str, Any] | None = None
        self._film: tuple[FilmTask, FilmFrames] | None = None
        self._units, self._stopped = 0, False

    def facts(self) -> WorkerFacts:
        """What this worker is; settles where its model will run.

        Raises:
            UsageError: the machine has not what was asked for.
        """
        self._device, dtype = self._choose()
        return WorkerFacts(
            machine=socket.gethostname(),
            process=os.getpid(),
            versions=versions(),
            device=self._device,
            dtype=dtype,
            memory_bytes=available_bytes(self._device),
        )

    def unseen(self, paths: Sequence[Path], token: Path, content: str) -> str | None:
        """The first path that is not what the driver sees under that name, None if all are.

        Args:
            paths: inputs.
            token: a file that the driver has just written into the output folder.
            content: what it holds.
        """
        try:
            is_shared = token.read_text(encoding="ascii") == content and os.access(token.parent, os.W_OK)
        except OSError:
            is_shared = False
        if not is_shared:
            return str(token.parent)
        return next((str(path) for path in paths if not os.access(path, os.R_OK)), None)

    def look(self, stop: bool) -> int:
        """Units of work done on the running window, while it runs.

        Args:
            stop: whether the window is to be given up after the step at work.
        """
        self._stopped = self._stopped or stop
        return self._units

    def sample(self, task: WindowTask, name: str, fetch: Callable[[str], Upscaler]) -> WindowRecord:
        """The record of a window whose segment and state lie in the job folder.

        Args:
            task: the window.
            name: tells the model from others.
            fetch: gives the model on a device.

        Raises:
            InterruptionError: somebody wants it to stop.
            DGAFVSRError: as `upscale_file` raises.
        """
        self._units, self._stopped = 0, False
        try:
            return self._sampled(task, self._model_of(name, fetch))
        except DGAFVSRError as error:
            self._close_film()
            shown = {key: _text(getattr(error, key)) for key in ("got", "expected")}  # the value may not travel
            raise type(error)(error.what, remedy=error.remedy, **shown) from None
        except BaseException:
            self._close_film()
            raise

    def _model_of(self, name: str, fetch: Callable[[str], Upscaler]) -> Upscaler:
        if self._model is None or self._model[0] != name:
            self._model = None  # before the next one is fetched: there may be no room for both
            self._model = name, fetch(self._device)
        return self._model[1]

    def _sampled(self, task: WindowTask, model: Upscaler) -> WindowRecord:
        film = task.film
        sampler = WindowSampler(
            with_fallback(model, film.plan, task.reduction, film.settings.sampling.reuse),
            film.settings,
            plan=film.plan,
            first_frame=film.first_frame,
            on_event=self._worked,
        )
        sampled = sampler.sample(
            self._frames_of(film).take(task.start, task.frames),
            task.window,
            shot_start=task.shot_start,
            state=None if task.state_before is None else _read_state(task.state_before, task.begun_from_sha256),
            begun_from_sha256=task.begun_from_sha256,
        )
        record = sampled.store(film.output, task.place, first_frame=film.first_frame)
        if sampled.state is not None:
            write_durably(task.state_after, sampled.state)
        return_freed_memory()
        return record

    def _worked(self, event: object) -> None:
        self._units += visits_of(event)
        if self._stopped:
            raise stopped()

    def _frames_of(self, task: FilmTask) -> FilmFrames:
        """The film, opened; one at a time is."""
        if self._film is None or self._film[0].output.target != task.output.target:
            self._close_film()
            self._film = task, FilmFrames(task)
        return self._film[1]

    def _close_film(self) -> None:
        if self._film is not None:
            self._film[1].close()
            self._film = None


def versions() -> dict[str, str]:
    """What the frames depend on besides the model, by name."""
    return {"dgafvsr": __version__, "torch": torch.__version__}


def _read_state(path: Path, sha256: str | None) -> dict[str, torch.Tensor]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OutputError(
            f"The state {path} of the window before cannot be read",
            got=error.strerror or error,
            remedy="keep the output on storage that all machines share",
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise OutputError(f"The state {path} of the window before is damaged", remedy="run the same command again")
    return load(content)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
