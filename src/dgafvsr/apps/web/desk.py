"""What a visitor of the page can do, without the page: the one place that puts store, queue and settings together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dgafvsr.apps.web.comparison import picture_names
from dgafvsr.apps.web.job_queue import JobQueue
from dgafvsr.apps.web.progress import JobProgress
from dgafvsr.apps.web.records import Film, Job, JobOptions, Kind
from dgafvsr.apps.web.settings import ServerSettings
from dgafvsr.apps.web.store import Store
from dgafvsr.apps.web.uploads import THUMBNAIL, accept_upload
from dgafvsr.errors import DGAFVSRError, InputError
from dgafvsr.sampling.presets import Quality

__all__ = ["PREVIEW_SECONDS", "Choice", "Desk"]

PREVIEW_SECONDS = 2.0
SLACK_SECONDS = 0.005
"""Of a slider at the film's end."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the controls of the page say."""

    start: float
    """Seconds."""
    stop: float
    """Seconds; the film's length for its end."""
    quality: Quality
    """The preset."""
    scale: int
    """Times as wide and high."""
    format: str
    """Of the result."""
    seed: int
    """Of the noise."""


class Desk:
    """What a visitor can do.

    Args:
        store: of films and jobs.
        queue: at work.
        settings: of the server.
    """

    def __init__(self, store: Store, queue: JobQueue, settings: ServerSettings) -> None:
        self.store, self.queue, self.settings = store, queue, settings

    def take(self, upload: Path) -> Film:
        """The film that an uploaded file has become.

        Raises:
            InputError: it is refused; the message names no folder of the server.
            OutputError: it cannot be stored.
            ResourceError: the disk is full.
        """
        try:
            return accept_upload(self.store, upload, self.settings)
        except DGAFVSRError as error:
            raise type(error)(self.store.folder.plain(str(error)).rstrip(".")) from error

    def submit(self, film_id: str | None, kind: Kind, choice: Choice) -> Job:
        """The job that waits for its turn: of the chosen range, or for a preview of its first seconds.

        Raises:
            DGAFVSRError: as `JobQueue.submit` and `JobOptions` do.
        """
        film = self.store.film(film_id)
        if film is None:
            raise InputError("There is no video", remedy="upload one first")
        at_end = choice.stop >= film.seconds - SLACK_SECONDS
        stop = None if at_end else choice.stop
        if kind == "preview" and (film.seconds if stop is None else stop) - choice.start > PREVIEW_SECONDS:
            stop = choice.start + PREVIEW_SECONDS
        options = JobOptions(
            quality=choice.quality,
            start_seconds=choice.start,
            stop_seconds=stop,
            scale=choice.scale,
            format=choice.format,
            seed=choice.seed,
        )
        return self.queue.submit(film.id, kind, options)

    def progress_of(self, job: Job | None) -> JobProgress | None:
        """How far a job is, None unless it waits or runs."""
        return self.queue.progress_of(job.id) if job is not None and job.active else None

    def newest(self) -> tuple[Film | None, Job | None]:
        """What a visitor who comes without having chosen is shown: the job at work, else the newest job and film."""
        jobs, films = self.store.jobs(), self.store.films()
        job = next((each for each in jobs if each.state == "running"), jobs[0] if jobs else None)
        film = films[0] if films else None
        if job is not None and (film is None or job.active or film.created < job.created):
            film = self.store.film(job.film_id)
        return film, job

    def thumbnail(self, film: Film) -> Path:
        """A film's first picture."""
        return self.store.shown_of(film) / THUMBNAIL

    def picture(self, job: Job) -> Path | None:
        """What stands for a job among others: its first picture after, else its film's; None if both are gone."""
        film = self.store.film(job.film_id)
        made = [self.store.shown_of(job) / picture_names(0)[1]] if job.moments else []
        known = [*made, *([self.thumbnail(film)] if film is not None else [])]
        return next((path for path in known if path.is_file()), None)

    def pair(self, job: Job, index: int) -> tuple[Path, Path] | None:
        """The pictures before and after at one of the job's moments, None if it has none."""
        if not job.moments:
            return None
        before, after = picture_names(min(max(index, 0), len(job.moments) - 1))
        folder = self.store.shown_of(job)
        return folder / before, folder / after

    def split(self, job: Job) -> Path | None:
        """The film that shows before and after, None if there is none."""
        return None if job.split is None else self.store.shown_of(job) / job.split

    def result(self, job: Job) -> Path | None:
        """The upscaled film, None until it is complete."""
        path = None if job.output is None else self.store.shown_of(job) / job.output
        return path if path is not None and path.is_file() else None
