"""What the page says, as HTML. Whatever came from outside is escaped here, and only here."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from dgafvsr.apps.web.progress import JobProgress
from dgafvsr.apps.web.records import Film, Job, Pairs
from dgafvsr.apps.web.words import seconds_text

__all__ = ["caption", "file_address", "film_view", "forecast", "job_view", "notice", "range_text", "split_view"]

STATES = {
    "waiting": "waiting",
    "running": "running",
    "done": "done",
    "stopped": "stopped, can be resumed",
    "failed": "failed",
}


def notice(text: str, *, bad: bool = True) -> str:
    """A sentence that must be seen; nothing for nothing.

    Args:
        text: plain.
        bad: whether something went wrong.
    """
    return f'<div class="notice {"bad" if bad else "good"}" role="alert">{escape(text)}</div>' if text else ""


def film_view(film: Film | None, thumbnail: str) -> str:
    """A film's name, first picture and facts.

    Args:
        film: None for none.
        thumbnail: address of the picture.
    """
    if film is None:
        return ""
    return (
        f'<div class="film"><img src="{escape(thumbnail, quote=True)}" alt="first picture of the video">'
        f'<div class="facts"><div class="name">{escape(film.name)}</div>{_table(film.facts)}</div></div>'
    )


def job_view(job: Job | None, progress: JobProgress | None) -> str:
    """What a job is, how far it is, and what came of it.

    Args:
        job: None for none.
        progress: of a job that waits or runs.
    """
    if job is None:
        return '<div class="empty">Nothing made yet. A preview takes a moment and shows what to expect.</div>'
    kind = "Preview" if job.kind == "preview" else "Upscaling"
    title = f'<div class="name">{kind} of {escape(job.film_name)}</div>'
    chosen = f'<div class="chosen">{escape(range_text(job))}, x{job.options.scale}, {escape(job.options.quality)}</div>'
    state = f'<span class="state {job.state}">{STATES[job.state]}</span>'
    if job.active and progress is not None:
        body, notes = _bar(progress), progress.notes
    else:
        body, notes = notice(job.message, bad=job.state == "failed"), job.warnings
    return (
        f'<div class="job" data-state="{job.state}">{title}{state}{chosen}{body}{_table(job.facts)}{_list(notes)}</div>'
    )


def range_text(job: Job) -> str:
    """The part of the film that a job makes, for people."""
    start, stop = job.options.start_seconds, job.options.stop_seconds
    if not start and stop is None:
        return "the whole video"
    return f"{seconds_text(start)} to {'the end' if stop is None else seconds_text(stop)}"


def _bar(progress: JobProgress) -> str:
    percent = None if progress.share is None else 100 * progress.share
    width = "" if percent is None else f' style="width:{percent:.1f}%"'
    parts = [progress.phase]
    if progress.frames_total and progress.phase in ("Upscaling", "Finishing", "Stopping", "Assembling"):
        parts.append(f"{progress.frames_done} of {progress.frames_total} frames written")
    parts += [] if percent is None else [f"{percent:.0f} %"]
    parts += [] if progress.seconds_left is None else [forecast(progress.seconds_left)]
    kind = "bar" if percent is not None else "bar unknown"
    return f'<div class="{kind}"><div{width}></div></div><div class="phase">{escape(" · ".join(parts))}</div>'


def forecast(seconds: float) -> str:
    """How long something will still take, as exactly as a forecast can be."""
    if seconds < 60:
        return "less than a minute left"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"about {minutes} minute{'s' if minutes > 1 else ''} left"
    return f"about {minutes // 60} h {minutes % 60:02d} min left"


def caption(job: Job) -> str:
    """A job in a line, below its picture."""
    kind = "preview" if job.kind == "preview" else f"x{job.options.scale}"
    return f"{kind}, {job.state}: {job.film_name}"


def split_view(address: str | None) -> str:
    """A player for the film that shows before and after.

    Args:
        address: of the film, None for none.
    """
    if address is None:
        return ""
    source = escape(address, quote=True)
    return (
        f'<video class="split" src="{source}" controls loop muted autoplay playsinline preload="metadata"></video>'
        '<div class="hint">Left of the line: the source, enlarged by a bicubic filter. Right of it: the result. '
        "Both halves are one film, so they cannot drift apart.</div>"
    )


def file_address(path: str) -> str:
    """Where a browser finds a file that it may fetch."""
    return f"gradio_api/file={quote(path)}"


def _table(facts: Pairs) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts)
    return f"<table>{rows}</table>" if rows else ""


def _list(notes: tuple[str, ...]) -> str:
    items = "".join(f"<li>{escape(each)}</li>" for each in notes)
    return f'<ul class="notes">{items}</ul>' if items else ""
