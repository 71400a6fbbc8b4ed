"""A film's shots through the workers of a cluster: what `WindowStream` does, with many hands.

The driver reads the film to find its shots, and knows by that all its windows. Shots do not depend on each other, so
they are sampled side by side; the windows of a shot are sampled one after the other, each from the state that the one
before has put into the job folder. The driver alone counts windows as finished. So the segments are those of a single
machine, byte by byte, and a job can be begun on a cluster and gone on with on one machine, or the other way round.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any

from dgafvsr.jobs.cluster_pool import Order, Told, WorkerPool
from dgafvsr.jobs.cluster_worker import FilmTask, WindowTask
from dgafvsr.jobs.fallback import FallbackUpscaler, Reduction
from dgafvsr.jobs.job_folder import JobFolder
from dgafvsr.jobs.outputs import JobOutput
from dgafvsr.jobs.progress import Meter
from dgafvsr.jobs.sampling_plan import SamplingPlan
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.stopping import check_stop, until_stopped
from dgafvsr.sampling.windows import Window, stream_windows
from dgafvsr.video.shots import ShotStream

__all__ = ["ClusterStream"]

WAIT_SECONDS = 0.2
"""After which it is asked again whether somebody wants the job to stop."""

_films = count()


class _Shot:
    """The windows of a shot that have still to be done, and what the next one begins from."""

    def __init__(self, start: int, reduction: Reduction) -> None:
        self.start, self.reduction = start, reduction
        self.waiting = deque[Window]()
        self.is_running = False
        self.before: int | None = None
        self.state_sha256: str | None = None


class ClusterStream:
    """Takes a film's shots through the workers and into the job folder.

    Args:
        pool: the workers.
        model: its name and what fetches it on a worker.
        upscaler: the model on the driver; tells its default steps and what an earlier run was made smaller by.
        job: where finished windows are; on storage that all machines share.
        output: what makes pictures of frames and stores them.
        settings: of the job.
        plan: how many frames are sampled together, and in which tiles.
        meter: told of the progress.
        wants_stop: asked several times in a second.
        first_frame: index in the film of the first frame of the first shot.
    """

    def __init__(
        self,
        pool: WorkerPool,
        model: tuple[str, Any],
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
        self._pool, self._model, self._job = pool, model, job
        self._plan, self._meter, self._wants_stop = plan, meter, wants_stop
        self._steps = settings.steps or upscaler.default_steps
        self._reduction = upscaler.reduction
        self._task = FilmTask(
            source=output.info.path.absolute(), settings=settings, output=output, plan=plan, first_frame=first_frame
        )
        self._number = next(_films)
        self._news = SimpleQueue[Told]()
        self._running: dict[Order, tuple[_Shot, int]] = {}
        self._is_given_up = False

    def run(self, shots: Iterable[ShotStream]) -> int:
        """How many frames the shots have; each of them is finished in the job folder.

        Raises:
            InterruptionError: somebody wants it to stop. What is finished stays finished.
            DGAFVSRError: as `WindowStream.run`, and ResourceError when no worker is left.
        """
        frames = planned = 0
        try:
            for each in shots:
                self._meter.entered_shot(each.start, work_before=self._steps * planned)
                shot = _Shot(each.start, self._reduction)
                for window, held in stream_windows(
                    until_stopped(each.frames, self._wants_stop), self._plan.stretch, self._plan.overlap
                ):
                    shot.waiting.append(window)
                    planned += self._plan.visits(len(held))
                    frames = shot.start + window.start + window.emitted
                    self._advance(shot)
                    while not self._news.empty():
                        self._hear(self._news.get())
            while self._running:
                check_stop(self._wants_stop)
                with suppress(Empty):
                    self._hear(self._news.get(timeout=WAIT_SECONDS))
        except BaseException:
            self._give_up()
            raise
        return frames

    def _advance(self, shot: _Shot) -> None:
        """Hands the next window of a shot over that is not finished yet, unless one is being sampled."""
        while shot.waiting and not shot.is_running:
            window = shot.waiting.popleft()
            start, sampled = shot.start + window.start, window.stop - window.start
            begun_from = shot.state_sha256 if window.head else None
            kept = self._job.kept(start, sampled=sampled, shot_start=shot.start, state_sha256=begun_from)
            if kept is not None:
                self._meter.skipped(sampled=self._plan.visits(sampled), emitted=kept.frames)
                shot.before, shot.state_sha256 = start, kept.state_sha256
                continue
            lost = self._job.lost(start)
            before = self._job.state_path(shot.before) if window.head and shot.before is not None else None
            task = WindowTask(
                film=self._task,
                shot_start=shot.start,
                window=window,
                begun_from_sha256=begun_from,
                reduction=shot.reduction if lost is None else Reduction(**lost.reduction),
                place=self._job.place_for(start).absolute(),
                state_before=None if before is None else before.absolute(),
                state_after=self._job.state_path(start).absolute(),
            )
            order = Order(
                task=task,
                model=self._model,
                film=self._number,
                listener=self._news.put,
                wants_stop=lambda: self._is_given_up,
            )
            shot.is_running = True
            self._running[order] = shot, 0
            self._pool.submit(order)

    def _hear(self, told: Told) -> None:
        shot, counted = self._running[told.order]
        if told.error is not None:
            del self._running[told.order]
            raise told.error
        if told.record is None:
            self._meter.worked(told.units - counted)
            self._running[told.order] = shot, told.units
            return
        del self._running[told.order]
        self._meter.worked(self._steps * self._plan.visits(told.record.sampled) - counted)
        if self._job.lost(told.record.start) is None:  # one made again says nothing of those that come
            shot.reduction = Reduction(**told.record.reduction)
        self._job.finish(told.record, None)
        self._meter.noted(told.record.notes)
        self._meter.finished(told.record.frames)
        shot.is_running, shot.before, shot.state_sha256 = False, told.record.start, told.record.state_sha256
        self._advance(shot)

    def _give_up(self) -> None:
        """Waits until no worker writes into the job folder any more; what is finished meanwhile is kept."""
        self._is_given_up = True
        waiting = self._pool.withdraw(self._number)
        while len(self._running) > waiting:
            told = self._news.get()
            if told.record is not None:
                self._job.finish(told.record, None)
            if told.record is not None or told.error is not None:
                del self._running[told.order]
