"""One job at a time: what waits, what runs, and what becomes of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from dgafvsr.apps.web.progress import JobProgress
from dgafvsr.apps.web.records import Job, JobOptions, Kind, new_id
from dgafvsr.apps.web.store import Store
from dgafvsr.errors import DGAFVSRError, InputError, InterruptionError, ResourceError, UsageError
from dgafvsr.interruption import Wish

__all__ = ["JobQueue", "Run"]

Run = Callable[[Job, Callable[[JobProgress], None], Wish], Job]
"""Does a job: takes it, whom to tell how far it is, and whether somebody wants it to stop; gives back the job with what
came of it. Raises InterruptionError when it stops."""
STARTING = JobProgress(phase="Starting")
RESTART = "start over with --restart", "press Start over"
"""What the command line advises, and what the page does."""


class JobQueue:
    """Does the jobs one after the other in a thread of its own while its context is open.

    What waits when the context is left, or is at work, is stopped and can be gone on with.

    Args:
        store: keeps the jobs.
        run: does one.
        longest: jobs that may wait.
    """

    def __init__(self, store: Store, run: Run, *, longest: int) -> None:
        self._store, self._run, self._longest = store, run, longest
        self._change = threading.Condition()
        self._waiting: list[str] = []
        self._at_work: str | None = None
        self._progress = STARTING
        self._stop_asked = False
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="dgafvsr-jobs", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._change:
            self._closing = True
            for job_id in self._waiting:
                self._put_aside(job_id, "The server was stopped before this job began")
            self._waiting.clear()
            self._change.notify_all()
        self._thread.join()

    def submit(self, film_id: str, kind: Kind, options: JobOptions) -> Job:
        """The job that now waits for its turn.

        Args:
            film_id: of the film.
            kind: preview or full.
            options: what was chosen.

        Raises:
            InputError: the film is gone.
            UsageError: the range begins after the film's end.
            ResourceError: too many jobs are waiting.
        """
        film = self._store.film(film_id)
        if film is None:
            raise InputError("The video is no longer here", remedy="upload it again")
        if options.start_seconds and options.start_seconds >= film.seconds:
            raise UsageError(
                "The range begins after the film's end",
                got=f"{options.start_seconds:g} s",
                expected=f"below {film.seconds:.2f} s",
            )
        with self._change:
            self._check_room()
            job = Job(id=new_id(), film_id=film_id, film_name=film.name, kind=kind, options=options)
            self._enqueue(self._store.save(job))
        return job

    def resume(self, job_id: str, *, anew: bool = False) -> Job:
        """The job that now waits for its turn again.

        Args:
            job_id: of the job.
            anew: throw away what is finished of it, which is kept otherwise.

        Raises:
            InputError: the job or its film is gone.
            UsageError: it is not one that was stopped or failed.
            ResourceError: too many jobs are waiting.
        """
        with self._change:
            job = self._store.job(job_id)
            if job is None or self._store.film(job.film_id) is None:
                raise InputError("The job or its video is no longer here", remedy="upload the video again")
            if not job.resumable:
                raise UsageError("The job cannot be gone on with", got=job.state, expected="one that was stopped")
            self._check_room()
            if anew:
                job = self._store.emptied(job)
            job = self._store.save(replace(job, state="waiting", message=""))
            self._enqueue(job)
        return job

    def cancel(self, job_id: str) -> None:
        """Ask a job to stop; one that waits does so at once, one at work after the step it is at."""
        with self._change:
            if job_id in self._waiting:
                self._waiting.remove(job_id)
                self._put_aside(job_id, "Cancelled before it began")
            elif job_id == self._at_work:
                self._stop_asked = True

    def remove(self, job_id: str) -> None:
        """Delete a job with all its files.

        Raises:
            UsageError: it waits or runs.
        """
        with self._change:
            job = self._store.job(job_id)
            if job is not None and job.active:
                raise UsageError("The job is not finished", remedy="cancel it first")
            if job is not None:
                self._store.remove_job(job)

    def progress_of(self, job_id: str) -> JobProgress:
        """How far a job is that waits or runs."""
        with self._change:
            if job_id in self._waiting:
                ahead = self._waiting.index(job_id) + (self._at_work is not None)
                return JobProgress(phase="Waiting" if not ahead else f"Waiting for {ahead} other jobs")
            if self._stop_asked and job_id == self._at_work:
                return replace(self._progress, phase="Stopping", seconds_left=None)
            return self._progress

    def _check_room(self) -> None:
        if len(self._waiting) >= self._longest:
            raise ResourceError("The queue is full", got=f"{len(self._waiting)} jobs", remedy="wait until one is done")

    def _enqueue(self, job: Job) -> None:
        self._waiting.append(job.id)
        self._change.notify_all()

    def _put_aside(self, job_id: str, message: str) -> None:
        job = self._store.job(job_id)
        if job is not None:
            self._store.save(replace(job, state="stopped", message=message))

    def _work(self) -> None:
        while (job := self._next()) is not None:
            ended = self._do(job)
            with self._change:
                self._store.save(ended)
                self._at_work = None

    def _next(self) -> Job | None:
        """The next job, once there is one; None when the queue closes."""
        with self._change:
            while True:
                self._change.wait_for(lambda: self._waiting or self._closing)
                if self._closing:
                    return None
                job = self._store.job(self._waiting.pop(0))
                if job is not None:
                    self._at_work, self._progress, self._stop_asked = job.id, STARTING, False
                    return self._store.save(replace(job, state="running", message=""))

    def _do(self, job: Job) -> Job:
        try:
            return replace(self._run(job, self._told, self._wants_stop), state="done", message="")
        except InterruptionError:
            who = "The server was stopped" if self._closing else "Cancelled"
            state, message = "stopped", f"{who}; what is finished is kept"
        except DGAFVSRError as error:
            state, message = "failed", self._store.folder.plain(str(error)).replace(*RESTART)
        except Exception as error:  # the queue outlives every job
            logging.getLogger(__name__).exception("job %s", job.id)
            state, message = "failed", f"Internal error ({type(error).__name__}); the server's log says where"
        return replace(self._store.job(job.id) or job, state=state, message=message)  # type: ignore[arg-type]

    def _told(self, progress: JobProgress) -> None:
        with self._change:
            self._progress = progress

    def _wants_stop(self) -> bool:
        return self._stop_asked or self._closing
