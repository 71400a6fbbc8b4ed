"""The films and jobs that there are, and when they go."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

from dgafvsr.apps.web.data_folder import DataFolder
from dgafvsr.apps.web.records import Film, Job, is_id

__all__ = ["Store"]

UPLOAD_SECONDS = 3600.0
"""After which a file that arrived and never became a film is removed."""
DAY = 24 * 3600.0


class Store:
    """Films and jobs on disk and in memory; every method may be called from any thread.

    Args:
        folder: open.
        keep_days: after which what nobody has touched expires.
    """

    def __init__(self, folder: DataFolder, *, keep_days: float) -> None:
        self.folder, self._keep_seconds = folder, keep_days * DAY
        self._lock = threading.RLock()
        films = (Film.read(path) for path in folder.films.glob("*/film.json"))
        jobs = (Job.read(path) for path in folder.jobs.glob("*/job.json"))
        self._films = {film.id: film for film in films if film is not None}
        self._jobs = {job.id: job for job in jobs if job is not None}
        for job in self.jobs():
            if job.active:
                self.save(replace(job, state="stopped", message="The server was stopped; what is finished is kept"))

    def film(self, film_id: str | None) -> Film | None:
        """The film of that name, None if there is none."""
        with self._lock:
            return self._films.get(film_id or "")

    def job(self, job_id: str | None) -> Job | None:
        """The job of that name, None if there is none."""
        with self._lock:
            return self._jobs.get(job_id or "")

    def films(self) -> list[Film]:
        """All films, the newest first."""
        with self._lock:
            return sorted(self._films.values(), key=lambda film: film.created, reverse=True)

    def jobs(self) -> list[Job]:
        """All jobs, the newest first."""
        with self._lock:
            return sorted(self._jobs.values(), key=lambda job: job.created, reverse=True)

    def source_of(self, film: Film) -> Path:
        """The file of a film."""
        return self.folder.films / film.id / "source" / film.file

    def work_of(self, job: Job) -> Path:
        """Where `dgafvsr upscale` keeps what is finished of a job."""
        return self.folder.jobs / job.id / "work"

    def shown_of(self, record: Film | Job) -> Path:
        """Where the files of a film or job lie that a browser may fetch; made if it is not there."""
        path = self.folder.shown / record.id
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def add_film(self, film: Film) -> None:
        """Keep a film; its file is in its place already."""
        with self._lock:
            film.write(self.folder.films / film.id / "film.json")
            self._films[film.id] = film

    def save(self, job: Job) -> Job:
        """Keep a job as it is now, and give it back with the time."""
        assert is_id(job.id)
        with self._lock:
            job = replace(job, changed=time.time())
            (self.folder.jobs / job.id).mkdir(mode=0o700, exist_ok=True)
            job.write(self.folder.jobs / job.id / "job.json")
            self._jobs[job.id] = job
        return job

    def emptied(self, job: Job) -> Job:
        """The job as it was before it began; what was finished of it is removed."""
        with self._lock:
            self.folder.remove(self.work_of(job))
            self.folder.remove(self.folder.shown / job.id)
        return replace(job, output=None, moments=(), split=None, facts=(), warnings=())

    def remove_job(self, job: Job) -> None:
        """Remove a job with everything that was made for it."""
        with self._lock:
            self._jobs.pop(job.id, None)
            for parent in (self.folder.jobs, self.folder.shown):
                self.folder.remove(parent / job.id)

    def expire(self, now: float | None = None) -> int:
        """How many films and jobs were removed because nobody has touched them for long.

        A job that waits or runs stays, and so does a film with a job. What lies in the folder without a record goes
        too.

        Args:
            now: seconds since the epoch, None for the time it is.
        """
        now = time.time() if now is None else now
        oldest, removed = now - self._keep_seconds, 0
        with self._lock:
            for job in self.jobs():
                if not job.active and job.changed < oldest:
                    self.remove_job(job)
                    removed += 1
            needed = {job.film_id for job in self._jobs.values()}
            for film in self.films():
                if film.id not in needed and film.created < oldest:
                    del self._films[film.id]
                    self.folder.remove(self.folder.films / film.id)
                    self.folder.remove(self.folder.shown / film.id)
                    removed += 1
            self._remove_orphans(oldest)
            self.folder.empty(self.folder.uploads, older_than=now - UPLOAD_SECONDS)
        return removed

    def _remove_orphans(self, oldest: float) -> None:
        known = {*self._films, *self._jobs}
        for parent in (self.folder.films, self.folder.jobs, self.folder.shown):
            for entry in parent.iterdir():
                if entry.name not in known and entry.lstat().st_mtime < oldest:
                    self.folder.remove(entry)
