"""The page: gradio's components, and what happens when somebody touches them. The rest is in `desk` and `views`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import gradio as gr

from dgafvsr.apps.web import views
from dgafvsr.apps.web.desk import PREVIEW_SECONDS, Choice, Desk
from dgafvsr.apps.web.records import FORMATS, SCALES, Film, Job, JobOptions, Kind
from dgafvsr.errors import DGAFVSRError
from dgafvsr.sampling.presets import Quality

__all__ = ["STYLE", "build_page", "theme"]

STYLE = Path(__file__).with_name("style.css")
REFRESH_SECONDS = 1.0
HEAD = (
    "<h1>DGAF-VSR</h1><p>Video super-resolution: up to four times as wide and high, with detail that stays in place "
    "from frame to frame. Nothing leaves the machine that serves this page.</p>"
)
QUALITIES = [(name.capitalize(), name) for name in get_args(Quality)]
Updates = dict[Any, Any]


def theme() -> Any:
    """Colours and letters; the letters are the system's own, so that none are fetched."""
    return gr.themes.Default(
        primary_hue="teal",
        neutral_hue="slate",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    )


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What a visitor's page shows already, so that nothing is drawn twice."""

    film: str | None = None
    job: Any = None
    gallery: Any = None


def build_page(desk: Desk) -> gr.Blocks:
    """The page, with its events.

    Args:
        desk: what it can do.
    """
    with gr.Blocks(title="DGAF-VSR", analytics_enabled=False) as blocks:
        page = _Page(desk)
        page.connect(blocks)
    return blocks


class _Page:
    """The components, by name, and the functions behind them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.film_id, self.job_id, self.listed = gr.State(None), gr.State(None), gr.State(())
        self.seen = gr.State(_Seen())
        gr.HTML(HEAD, elem_id="head", padding=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=380):
                self._make_controls()
            with gr.Column(scale=7, min_width=420):
                self._make_result()
        with gr.Column(visible=False) as self.past:
            gr.HTML('<div class="step">Your videos</div>', padding=False)
            self.gallery = gr.Gallery(
                show_label=False,
                columns=5,
                height="auto",
                allow_preview=False,
                interactive=False,
                object_fit="contain",
                elem_id="gallery",
                buttons=[],
            )
        self.timer = gr.Timer(REFRESH_SECONDS)

    def _make_controls(self) -> None:
        gr.HTML('<div class="step"><b>1</b>Choose a video</div>', padding=False)
        self.upload = gr.File(label="Drop a video here, or click", show_label=False, height=120, elem_id="upload")
        self.notice = gr.HTML(elem_id="notice", padding=False)
        self.film = gr.HTML(elem_id="film", padding=False)
        with gr.Column(visible=False, elem_id="options") as self.options:
            gr.HTML('<div class="step"><b>2</b>Say what to make of it</div>', padding=False)
            self.quality = gr.Radio(
                QUALITIES,
                value=JobOptions().quality,
                label="Quality",
                info="Fast for a first look; Best is the model's own way and takes longest.",
                elem_id="quality",
            )
            with gr.Row():
                self.start = gr.Slider(0, 1, 0, step=0.01, label="From (s)", elem_id="start")
                self.stop = gr.Slider(0, 1, 1, step=0.01, label="To (s)", elem_id="stop")
            with gr.Accordion("More", open=False):
                self.scale = gr.Radio(
                    [(f"x{scale}", scale) for scale in SCALES], value=SCALES[-1], label="Size", elem_id="scale"
                )
                self.format = gr.Radio(list(FORMATS), value=next(iter(FORMATS)), label="Format", elem_id="format")
                self.seed = gr.Number(0, label="Seed", info="Same seed, same result", precision=0, elem_id="seed")
            gr.HTML('<div class="step"><b>3</b>Look first, then make it</div>', padding=False)
            with gr.Row():
                self.preview = gr.Button(f"Preview {PREVIEW_SECONDS:g} s", elem_id="preview")
                self.full = gr.Button("Upscale", variant="primary", elem_id="full")

    def _make_result(self) -> None:
        self.job = gr.HTML(views.job_view(None, None), elem_id="job", padding=False)
        with gr.Row():
            self.cancel = gr.Button("Cancel", visible=False, elem_id="cancel")
            self.resume = gr.Button("Resume", visible=False, variant="primary", elem_id="resume")
            self.anew = gr.Button("Start over", visible=False, elem_id="anew")
            self.download = gr.DownloadButton("Download", visible=False, variant="primary", elem_id="download")
            self.delete = gr.Button("Delete", visible=False, elem_id="delete")
            self.really = gr.Button("Yes, delete it", visible=False, variant="stop", elem_id="really")
            self.keep = gr.Button("Keep it", visible=False, elem_id="keep")
        with gr.Tabs(visible=False, elem_id="result") as self.result:
            with gr.Tab("Pictures", id="pictures"):
                self.pair = gr.ImageSlider(
                    label="Before (bicubic) and after: drag the line",
                    interactive=False,
                    max_height=520,
                    type="filepath",
                    buttons=["fullscreen"],
                    elem_id="pair",
                )
                self.moment = gr.Slider(1, 2, 1, step=1, label="Moment", elem_id="moment")
            with gr.Tab("Video", id="video"):
                self.split = gr.HTML(elem_id="split", padding=False)

    def connect(self, blocks: gr.Blocks) -> None:
        """Say what happens when."""
        known = [self.film_id, self.job_id, self.seen]
        choices = [self.start, self.stop, self.quality, self.scale, self.format, self.seed]
        everything = [
            *known, self.listed, self.upload, self.notice, self.film, self.options, self.start, self.stop, self.job,
            self.cancel, self.resume, self.anew, self.download, self.delete, self.really, self.keep, self.result,
            self.pair, self.moment, self.split, self.past, self.gallery,
        ]  # fmt: skip
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        taking = {**quiet, "show_progress": "full", "concurrency_limit": 4}
        # One after the other, so that no answer overtakes a newer one; each takes milliseconds.
        quiet |= {"concurrency_limit": 1, "concurrency_id": "page"}
        blocks.load(self._arrive, None, everything, **quiet)
        self.timer.tick(self._refresh, known, everything, **quiet)
        self.upload.upload(self._take, self.upload, [self.film_id, self.upload, self.notice], **taking)
        self.preview.click(self._submitter("preview"), [*known, *choices], everything, **quiet)
        self.full.click(self._submitter("full"), [*known, *choices], everything, **quiet)
        self.cancel.click(self._changer(desk_cancel), known, everything, **quiet)
        self.resume.click(self._changer(desk_resume), known, everything, **quiet)
        self.anew.click(self._changer(desk_start_over), known, everything, **quiet)
        self.really.click(self._changer(desk_remove), known, everything, **quiet)
        self.delete.click(lambda: self._asking(True), None, [self.delete, self.really, self.keep], **quiet)
        self.keep.click(lambda: self._asking(False), None, [self.delete, self.really, self.keep], **quiet)
        self.gallery.select(self._select, [self.listed, *known], everything, **quiet)
        self.moment.release(self._look, [self.job_id, self.moment], self.pair, **quiet)

    def _arrive(self) -> Updates:
        film, job = self._desk.newest()
        return self._drawn(film, job, _Seen())

    def _refresh(self, film_id: str | None, job_id: str | None, seen: _Seen) -> Updates:
        """What has changed by itself. It never says what is chosen: that may have been changed since it was asked."""
        drawn = self._drawn(self._desk.store.film(film_id), self._desk.store.job(job_id), seen)
        return {shown: value for shown, value in drawn.items() if shown not in (self.film_id, self.job_id)}

    def _take(self, upload: str) -> Updates:
        """Only what is chosen; the next refresh draws it."""
        try:
            film = self._desk.take(Path(upload))
        except DGAFVSRError as error:
            return {self.upload: None, self.notice: views.notice(str(error))}
        return {self.upload: None, self.notice: "", self.film_id: film.id}

    def _submitter(self, kind: Kind) -> Callable[..., Updates]:
        def submit(film_id: str | None, job_id: str | None, seen: _Seen, *chosen: Any) -> Updates:
            start, stop, quality, scale, form, seed = chosen
            job, problem = self._desk.store.job(job_id), ""
            try:
                choice = Choice(
                    start=float(start), stop=float(stop), quality=quality, scale=scale, format=form, seed=int(seed or 0)
                )
                job = self._desk.submit(film_id, kind, choice)
            except DGAFVSRError as error:
                problem = str(error)
            drawn = self._drawn(self._desk.store.film(film_id), job, seen)
            return drawn | {self.notice: views.notice(problem)}

        return submit

    def _changer(self, change: Callable[[Desk, str], object]) -> Callable[..., Updates]:
        def act(film_id: str | None, job_id: str | None, seen: _Seen) -> Updates:
            problem = ""
            try:
                change(self._desk, job_id or "")
            except DGAFVSRError as error:
                problem = str(error)
            drawn = self._drawn(self._desk.store.film(film_id), self._desk.store.job(job_id), seen)
            return drawn | {self.notice: views.notice(problem)}

        return act

    def _select(
        self, listed: tuple[str, ...], film_id: str | None, job_id: str | None, seen: _Seen, event: gr.SelectData
    ) -> Updates:
        index = event.index if isinstance(event.index, int) else 0
        job = self._desk.store.job(listed[index] if index < len(listed) else job_id)
        film = self._desk.store.film(film_id if job is None else job.film_id)
        return self._drawn(film, job, seen)

    def _look(self, job_id: str | None, moment: float) -> Any:
        job = self._desk.store.job(job_id)
        return None if job is None else _texts(self._desk.pair(job, round(moment) - 1))

    def _asking(self, asking: bool) -> list[Any]:
        return [gr.update(visible=not asking), gr.update(visible=asking), gr.update(visible=asking)]

    def _drawn(self, film: Film | None, job: Job | None, seen: _Seen) -> Updates:
        """What has to change on a page that shows `seen` already."""
        progress = self._desk.progress_of(job)
        jobs = self._desk.store.jobs()
        film_key = None if film is None else film.id
        job_key = job if job is None or not job.active else (job.id, job.state)
        gallery_key = tuple((each.id, each.state, each.moments) for each in jobs)
        updates: Updates = {self.film_id: film_key, self.job_id: None if job is None else job.id}
        if job_key != seen.job or progress is not None:
            updates[self.job] = views.job_view(job, progress)
        if film_key != seen.film:
            updates |= self._film_updates(film)
        if job_key != seen.job:
            updates |= self._job_updates(job)
        if gallery_key != seen.gallery:
            updates |= self._gallery_updates(jobs)
        return updates | {self.seen: _Seen(film=film_key, job=job_key, gallery=gallery_key)}

    def _film_updates(self, film: Film | None) -> Updates:
        if film is None:
            return {self.film: "", self.options: gr.update(visible=False)}
        step = 0.01 if film.seconds < 10 else 0.1
        most = max(step, round(film.seconds, 2))
        return {
            self.film: views.film_view(film, views.file_address(str(self._desk.thumbnail(film)))),
            self.options: gr.update(visible=True),
            self.start: gr.update(maximum=most, value=0, step=step),
            self.stop: gr.update(maximum=most, value=most, step=step),
        }

    def _job_updates(self, job: Job | None) -> Updates:
        result = None if job is None else self._desk.result(job)
        split = None if job is None else self._desk.split(job)
        moments = () if job is None else job.moments
        finished = job is not None and not job.active
        return {
            self.cancel: gr.update(visible=job is not None and job.active),
            self.resume: gr.update(visible=job is not None and job.resumable),
            self.anew: gr.update(visible=job is not None and job.state == "failed"),
            self.download: gr.update(visible=result is not None, value=None if result is None else str(result)),
            self.delete: gr.update(visible=finished),
            self.really: gr.update(visible=False),
            self.keep: gr.update(visible=False),
            self.result: gr.update(visible=bool(moments)),
            self.pair: None if job is None else _texts(self._desk.pair(job, 0)),
            self.moment: gr.update(maximum=max(2, len(moments)), value=1, visible=len(moments) > 1),
            self.split: views.split_view(None if split is None else views.file_address(str(split))),
        }

    def _gallery_updates(self, jobs: list[Job]) -> Updates:
        pictures = [(job, self._desk.picture(job)) for job in jobs]
        listed = [(job, picture) for job, picture in pictures if picture is not None]
        return {
            self.past: gr.update(visible=bool(listed)),
            self.gallery: gr.update(value=[(str(picture), views.caption(job)) for job, picture in listed]),
            self.listed: tuple(job.id for job, _ in listed),
        }


def desk_cancel(desk: Desk, job_id: str) -> None:
    """Stop a job."""
    desk.queue.cancel(job_id)


def desk_resume(desk: Desk, job_id: str) -> None:
    """Go on with a job."""
    desk.queue.resume(job_id)


def desk_start_over(desk: Desk, job_id: str) -> None:
    """Begin a job once more, without what is finished of it."""
    desk.queue.resume(job_id, anew=True)


def desk_remove(desk: Desk, job_id: str) -> None:
    """Delete a job."""
    desk.queue.remove(job_id)


def _texts(pair: tuple[Path, Path] | None) -> tuple[str, str] | None:
    return None if pair is None else (str(pair[0]), str(pair[1]))
