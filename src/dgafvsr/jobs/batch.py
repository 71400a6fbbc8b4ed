"""Many films, one after the other or several at once, each an ordinary job with a job folder of its own.

A film that fails does not stop the others; it is tried again after them. A film whose result is there, of the same
input, settings and model, is passed over; a result of anything else is refused, not replaced. The model is loaded once.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from dgafvsr.errors import InterruptionError, OutputError, UsageError
from dgafvsr.jobs.batch_inputs import BatchFile
from dgafvsr.jobs.batch_records import ResultRecord, is_there, make_folder, record_of, remove_empty
from dgafvsr.jobs.fingerprints import fingerprint_input, fingerprint_model
from dgafvsr.jobs.job_folder import job_folder_of
from dgafvsr.jobs.outputs import plan_output
from dgafvsr.jobs.progress import Listener, UpscaleProgress
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.upscale import UpscaleSummary, open_film, upscale_file
from dgafvsr.jobs.upscaler import Upscaler
from dgafvsr.video.folders import IMAGE_SUFFIXES

__all__ = ["BatchEvent", "BatchListener", "BatchReport", "BatchResult", "FilmJob", "Status", "run_batch"]

Status = Literal["done", "skipped", "refused", "failed", "interrupted", "not started"]
"""Of a film. `skipped`: it was done before. `refused`: something else lies where its result belongs."""


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """What became of one film."""

    file: BatchFile
    """The film."""
    status: Status = "not started"
    """What became of it."""
    attempts: int = 0
    """Times that it was tried in this run."""
    seconds: float = 0.0
    """Wall time of all of them."""
    summary: Mapping[str, Any] | None = None
    """Of the job, by the fields of `UpscaleSummary`; for `skipped` of the earlier run, where that is known."""
    error: Exception | None = None
    """Why it was refused or failed, of the last attempt."""


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """What became of a batch."""

    results: tuple[BatchResult, ...]
    """Of every film, in the order of the batch."""
    seconds: float
    """Wall time."""

    def count(self, *statuses: Status) -> int:
        """How many films have one of these."""
        return sum(each.status in statuses for each in self.results)


@dataclass(frozen=True, kw_only=True)
class BatchEvent:
    """Something that happened: a film began (neither is given), went on, or came to an end for now."""

    file: BatchFile
    """The film."""
    progress: UpscaleProgress | None = None
    """Where its job is."""
    result: BatchResult | None = None
    """What became of it."""
    again: bool = False
    """With a result: whether it failed and will be tried again."""
    report: BatchReport | None = None
    """With a result: the batch as it is now."""


BatchListener = Callable[[BatchEvent], object]


class FilmJob(Protocol):
    """`upscale_file`, here or with machines behind it."""

    def __call__(
        self,
        source: Path | str,
        target: Path | str,
        pipeline: Upscaler,
        settings: UpscaleSettings | None = None,
        listener: Listener | None = None,
        *,
        wants_stop: Callable[[], bool] = bool,
    ) -> UpscaleSummary:
        """The summary of having upscaled a film."""


def run_batch(
    files: Sequence[BatchFile],
    load: Callable[[], Upscaler],
    settings: UpscaleSettings,
    *,
    retries: int = 1,
    at_once: int = 1,
    upscale: FilmJob = upscale_file,
    listener: BatchListener | None = None,
    wants_stop: Callable[[], bool] = bool,
) -> BatchReport:
    """What became of each film.

    Args:
        files: of `plan_batch`.
        load: gives the model; called once, when the first film has been found usable.
        settings: of every film; a frame rate holds for pictures only.
        retries: further attempts for a film that failed, at least 0. They go on from what the job folder holds.
        at_once: films that are worked on at the same time, at least 1.
        upscale: what makes one film.
        listener: told of every event, one at a time.
        wants_stop: once it says True, the running films stop and keep what is finished, and no other is begun.

    Raises:
        UsageError: the settings do not fit a batch.
        DGAFVSRError: the model cannot be loaded.
    """
    if retries < 0:
        raise UsageError("The number of retries is impossible", got=retries, expected="at least 0")
    if settings.shots is not None or settings.save_shots is not None or settings.job.folder is not None:
        raise UsageError("A shot list or a job folder belongs to one film, not to a batch")
    return _Batch(files, load, settings, retries, upscale, listener, wants_stop).run(at_once)


class _Batch:
    def __init__(
        self,
        files: Sequence[BatchFile],
        load: Callable[[], Upscaler],
        settings: UpscaleSettings,
        retries: int,
        upscale: FilmJob,
        listener: BatchListener | None,
        wants_stop: Callable[[], bool],
    ) -> None:
        self._load, self._settings, self._retries = load, settings, retries
        self._upscale, self._listener, self._asked_to_stop = upscale, listener, wants_stop
        self._results = {file: BatchResult(file=file) for file in files}
        self._queue = deque(files)
        self._lock, self._loading = threading.RLock(), threading.Lock()
        self._model: tuple[Upscaler, Mapping[str, Any]] | None = None
        self._broken = False
        self._started = time.perf_counter()

    def run(self, at_once: int) -> BatchReport:
        if at_once == 1:
            self._work()
        else:
            with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="film") as threads:
                for future in [threads.submit(self._work) for _ in range(at_once)]:
                    future.result()
        return self._report()

    def _report(self) -> BatchReport:
        return BatchReport(results=tuple(self._results.values()), seconds=time.perf_counter() - self._started)

    def _wants_stop(self) -> bool:
        return self._broken or self._asked_to_stop()

    def _work(self) -> None:
        """Takes films from the queue until it is empty; each of the threads does."""
        try:
            while not self._wants_stop():
                with self._lock:
                    if not self._queue:
                        return
                    file = self._queue.popleft()
                self._attempt(file)
        except BaseException:
            self._broken = True
            raise

    def _attempt(self, file: BatchFile) -> None:
        self._tell(BatchEvent(file=file))
        started = time.perf_counter()
        try:
            result = self._made(file)
        except _ModelLoadingError as error:
            raise error.reason from None
        except InterruptionError as error:
            result = BatchResult(file=file, status="interrupted", error=error)
        except _RefusalError as error:
            result = BatchResult(file=file, status="refused", error=error.reason)
        except Exception as error:  # noqa: BLE001 - told with the result; the other films go on
            result = BatchResult(file=file, status="failed", error=error)
        before = self._results[file]
        result = replace(result, attempts=before.attempts + 1, seconds=before.seconds + time.perf_counter() - started)
        with self._lock:
            self._results[file] = result
            may_pass = result.status == "failed" and not isinstance(result.error, UsageError)
            again = may_pass and result.attempts <= self._retries
            if again:
                self._queue.append(file)
            self._tell(BatchEvent(file=file, result=result, again=again, report=self._report()))

    def _tell(self, event: BatchEvent) -> None:
        if self._listener is not None:
            with self._lock:
                self._listener(event)

    def _made(self, file: BatchFile) -> BatchResult:
        settings = self._settings
        if file.source.is_file() and file.source.suffix.lower() not in IMAGE_SUFFIXES:
            settings = replace(settings, frame_rate=None)
        target = f"{file.target}{os.sep}" if file.is_folder else file.target
        with open_film(file.source, settings) as reader:
            encoding = plan_output(target, reader.info, settings).encoding
        source = fingerprint_input(file.source)
        model, told = self._loaded()
        record = ResultRecord(source=source, settings=settings.told(encoding), model=told)
        if is_there(file.target):
            try:
                made = record.done_before(file.target)
            except OutputError as error:
                if not settings.overwrite:
                    raise _RefusalError(error) from error
            else:
                made.write(file.target)
                return BatchResult(file=file, status="skipped", summary=made.summary)
        return self._upscaled(file, target, settings, model, record)

    def _upscaled(
        self, file: BatchFile, target: Path | str, settings: UpscaleSettings, model: Upscaler, record: ResultRecord
    ) -> BatchResult:
        parents = make_folder(file.target.parent)
        try:
            if not is_there(file.target):
                record.write(file.target)
            summary = self._upscale(
                file.source,
                target,
                model,
                settings,
                lambda progress: self._tell(BatchEvent(file=file, progress=progress)),
                wants_stop=self._wants_stop,
            )
        except BaseException:
            if not job_folder_of(file.target).exists() and not is_there(file.target):
                record_of(file.target).unlink(missing_ok=True)
            remove_empty(parents)
            raise
        facts = {**asdict(summary), "output": str(summary.output), "warnings": list(summary.warnings)}
        replace(record, result=fingerprint_input(file.target), summary=facts).write(file.target)
        return BatchResult(file=file, status="done", summary=facts)

    def _loaded(self) -> tuple[Upscaler, Mapping[str, Any]]:
        """The model, and what tells it from others."""
        with self._loading:
            if self._model is None:
                try:
                    model = self._load()
                    kind = str(model.device).partition(":")[0]
                    self._model = model, {"sha256": fingerprint_model(model), "device": kind}
                except Exception as error:
                    raise _ModelLoadingError(error) from error
            return self._model


class _MarkedError(Exception):
    """An error with a part of its own in the batch."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason = reason


class _ModelLoadingError(_MarkedError):
    """No film can be made: the end of the batch, not of a film."""


class _RefusalError(_MarkedError):
    """Something else lies where a result belongs."""
