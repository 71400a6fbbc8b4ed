"""What a job does: the film upscaled by `jobs.upscale`, then shown beside what it was made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import cast

from dgafvsr.apps.web.comparison import compare_result
from dgafvsr.apps.web.progress import Eta, JobProgress
from dgafvsr.apps.web.records import FORMATS, Film, Job, Pairs
from dgafvsr.apps.web.store import Store
from dgafvsr.apps.web.words import bytes_text, seconds_text
from dgafvsr.errors import DGAFVSRError, InputError, InterruptionError
from dgafvsr.interruption import Wish
from dgafvsr.jobs.progress import UpscaleProgress
from dgafvsr.jobs.settings import JobSettings, UpscaleSettings
from dgafvsr.jobs.sizes import OutputSize
from dgafvsr.jobs.upscale import UpscaleSummary, upscale_file
from dgafvsr.jobs.upscaler import Upscaler
from dgafvsr.video.codecs import Codec, EncoderSettings
from dgafvsr.video.limits import InputLimits

__all__ = ["JobRunner", "output_name", "result_facts", "settings_of"]


class JobRunner:
    """Does jobs with one model, which is loaded for the first of them and kept.

    Args:
        store: of the films and jobs.
        load: gives the model.
        limits: what films are refused as too large.
    """

    def __init__(self, store: Store, load: Callable[[], Upscaler], limits: InputLimits) -> None:
        self._store, self._load, self._limits = store, load, limits
        self._pipeline: Upscaler | None = None

    def __call__(self, job: Job, tell: Callable[[JobProgress], None], wants_stop: Wish) -> Job:
        """The job with what came of it.

        Raises:
            InterruptionError: `wants_stop` said True; what is finished is kept for the next call.
            DGAFVSRError: as `upscale_file` does.
        """
        film = self._store.film(job.film_id)
        if film is None:
            raise InputError("The video is no longer here", remedy="upload it again")
        shown = self._store.shown_of(job)
        if job.output is None or not (shown / job.output).is_file():
            job = self._store.save(self._upscaled(job, film, shown, tell, wants_stop))
        try:
            return compare_result(job, self._store.source_of(film), film, shown, tell, wants_stop)
        except InterruptionError:
            raise
        except DGAFVSRError as error:  # the film is made; that it cannot be shown beside the other takes nothing away
            note = f"There is no comparison: {self._store.folder.plain(str(error))}"
            return replace(job, warnings=(*job.warnings, note))

    def _upscaled(
        self, job: Job, film: Film, shown: Path, tell: Callable[[JobProgress], None], wants_stop: Wish
    ) -> Job:
        tell(JobProgress(phase="Loading the model"))
        if self._pipeline is None:
            self._pipeline = self._load()
        eta, plain = Eta(), self._store.folder.plain

        def hear(progress: UpscaleProgress) -> None:
            tell(replace(eta(progress), notes=tuple(map(plain, progress.notes))))

        name = output_name(job, film)
        summary = upscale_file(
            self._store.source_of(film),
            shown / name,
            self._pipeline,
            settings_of(job, film, self._store.work_of(job), self._limits),
            hear,
            wants_stop=wants_stop,
        )
        facts = result_facts(summary, size=(shown / name).stat().st_size)
        return replace(job, output=name, facts=facts, warnings=tuple(map(plain, summary.warnings)))


def output_name(job: Job, film: Film) -> str:
    """What the upscaled film is called: after the film, the kind of job, and the scale."""
    kind = "_preview" if job.kind == "preview" else ""
    return f"{Path(film.file).stem}{kind}_x{job.options.scale}{FORMATS[job.options.format][0]}"


def settings_of(job: Job, film: Film, work: Path, limits: InputLimits) -> UpscaleSettings:
    """How the film of a job is upscaled.

    Args:
        job: what was chosen.
        film: what it is made of.
        work: where what is finished is kept.
        limits: what films are refused as too large.
    """
    options = job.options
    _, codec = FORMATS[options.format]
    return UpscaleSettings(
        quality=options.quality,
        seed=options.seed,
        size=OutputSize(scale=Fraction(options.scale)),
        part=job.part,
        limits=limits,
        deinterlace=film.interlaced,
        encoder=EncoderSettings(codec=cast(Codec, codec)),
        overwrite=True,  # of our own: a run that was killed between the film and its record
        job=JobSettings(folder=work),
    )


def result_facts(summary: UpscaleSummary, *, size: int) -> Pairs:
    """What came of upscaling, in words for people.

    Args:
        summary: of the run.
        size: of the result in bytes.
    """
    return (
        ("Size", f"{summary.width} x {summary.height} pixels"),
        ("Frames", f"{summary.frames} in {summary.shots} shot{'s' if summary.shots > 1 else ''}"),
        ("Time", f"{seconds_text(summary.seconds)} ({summary.frames_per_second:.3g} frames/s on {summary.device})"),
        ("File", bytes_text(size)),
    )
