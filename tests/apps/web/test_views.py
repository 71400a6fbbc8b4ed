from dataclasses import replace

import pytest

from dgafvsr.apps.web import views
from dgafvsr.apps.web.progress import JobProgress
from dgafvsr.apps.web.records import Film, Job, JobOptions
from dgafvsr.apps.web.words import bytes_text, seconds_text

EVIL = "<img src=x onerror=alert(1)>\"'.mp4"
JOB = Job(id="0" * 16, film_id="1" * 16, film_name=EVIL, kind="full", warnings=(EVIL,), message=EVIL, state="failed")


def test_what_came_from_outside_is_escaped():
    film = Film(
        id="1" * 16, name=EVIL, file="a", width=1, height=1, seconds=1.0, interlaced=False, facts=((EVIL, EVIL),)
    )
    for html in (views.film_view(film, EVIL), views.job_view(JOB, None), views.notice(EVIL), views.split_view(EVIL)):
        assert "<img src=x" not in html
        assert "&lt;img src=x onerror=alert(1)&gt;&quot;&#x27;.mp4" in html


def test_progress_is_said_in_words():
    running = replace(JOB, state="running")
    progress = JobProgress(phase="Upscaling", share=0.253, frames_done=12, frames_total=48, seconds_left=200.0)
    html = views.job_view(running, progress)
    assert "Upscaling · 12 of 48 frames written · 25 % · about 3 minutes left" in html
    assert "width:25.3%" in html
    assert "bar unknown" in views.job_view(running, JobProgress(phase="Starting"))


def test_losses_are_shown_while_the_job_runs():
    running = replace(JOB, state="running", warnings=())
    html = views.job_view(running, JobProgress(phase="Upscaling", notes=("no <sound>",)))
    assert '<ul class="notes"><li>no &lt;sound&gt;</li></ul>' in html
    assert "notes" not in views.job_view(running, JobProgress(phase="Upscaling"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "less than a minute left"),
        (61, "about 1 minute left"),
        (150, "about 2 minutes left"),
        (7500, "about 2 h 05 min left"),
    ],
)
def test_forecast_is_no_more_exact_than_it_can_be(seconds, text):
    assert views.forecast(seconds) == text


@pytest.mark.parametrize(
    ("start", "stop", "text"),
    [(0.0, None, "the whole video"), (0.0, 2.0, "0.00 s to 2.00 s"), (61.0, None, "1:01 to the end")],
)
def test_range_is_said_in_words(start, stop, text):
    assert views.range_text(replace(JOB, options=JobOptions(start_seconds=start, stop_seconds=stop))) == text


def test_nothing_is_said_of_nothing():
    assert views.notice("") == views.film_view(None, "") == views.split_view(None) == ""
    assert "Nothing made yet" in views.job_view(None, None)


def test_caption_begins_with_what_tells_jobs_apart():
    assert views.caption(replace(JOB, film_name="a.mp4", state="done")) == "x4, done: a.mp4"
    assert views.caption(replace(JOB, film_name="a.mp4", kind="preview")) == "preview, failed: a.mp4"


def test_numbers_are_readable():
    assert [bytes_text(size) for size in (5, 4200, 4_200_000, 2 * 10**9)] == ["5 bytes", "4.2 kB", "4.2 MB", "2 GB"]
    assert [seconds_text(each) for each in (2.5, 62, 3723)] == ["2.50 s", "1:02", "1:02:03"]
