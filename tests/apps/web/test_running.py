import time
from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image

from dgafvsr.apps.web import running
from dgafvsr.apps.web.comparison import pick
from dgafvsr.apps.web.running import JobRunner, settings_of
from dgafvsr.video.reader import open_source
from tests.apps.web import standins
from tests.apps.web.standins import Workshop, arrived, choice
from tests.video.films import pictures, write_film


def size_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.width, stream.height, sum(1 for _ in container.decode(stream))


def test_full_job_makes_the_film_and_shows_it_beside_its_source(tmp_path):
    with Workshop(tmp_path / "data") as shop:
        film = shop.film(tmp_path)
        job = shop.until(shop.desk.submit(film.id, "full", choice()), "done", "failed")
        assert job.message == ""
        assert size_of(shop.desk.result(job)) == (384, 224, 10)
        assert size_of(shop.desk.split(job)) == (384, 224, 10)
        assert len(job.moments) == 5
        assert job.moments == tuple(sorted(set(job.moments)))
        assert all(path.is_file() for index in range(5) for path in shop.desk.pair(job, index))
        assert dict(job.facts)["Size"] == "384 x 224 pixels"
        shown = sorted(path.name for path in shop.store.shown_of(job).iterdir())
        assert shown == sorted(
            ["clip_x4.mp4", "split.mp4", *(f"{index}_{side}.png" for index in range(5) for side in ("before", "after"))]
        )
        assert not shop.store.work_of(job).exists(), "the resumable job was left although the film is complete"


def test_losses_are_told_while_the_job_runs(tmp_path):
    with Workshop(tmp_path / "data") as shop:
        source = write_film(tmp_path / "clip.mkv", pictures(3), sound_seconds=0.1)
        film = shop.desk.take(arrived(shop.folder, source))
        job = shop.until(shop.desk.submit(film.id, "full", choice(format="WebM (AV1)")), "done", "failed")
        told = []
        JobRunner(shop.store, lambda: shop.pipeline, shop.settings.limits)(replace(job, output=None), told.append, bool)
    lost = ("audio stream 1 (aac) is left out: webm does not hold aac",)
    assert {each.notes for each in told if each.phase in ("Upscaling", "Finishing")} == {job.warnings} == {lost}


def test_part_is_compared_with_the_same_part_of_the_source(tmp_path):
    with Workshop(tmp_path / "data") as shop:
        film = shop.film(tmp_path)
        job = shop.until(shop.desk.submit(film.id, "preview", choice(start=0.16, stop=0.28)), "done", "failed")
        assert job.message == ""
        assert size_of(shop.desk.result(job)) == (384, 224, 3)
        for index in range(3):
            before, after = (np.asarray(Image.open(path), float) for path in shop.desk.pair(job, index))
            assert np.abs(before - after).mean() < 6, "before and after are not the same moment"


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"scale": 2}, ("clip_x2.mp4", (192, 112, 4))),
        ({"format": "WebM (AV1)"}, ("clip_x4.webm", (384, 224, 4))),
    ],
)
def test_choices_reach_the_film(tmp_path, given, made):
    with Workshop(tmp_path / "data") as shop:
        film = shop.film(tmp_path, frames=4)
        job = shop.until(shop.desk.submit(film.id, "full", choice(**given)), "done", "failed")
        assert job.message == ""
        result = shop.desk.result(job)
        assert (result.name, size_of(result)) == made


def test_model_is_loaded_once(tmp_path):
    with Workshop(tmp_path / "data") as shop:
        film = shop.film(tmp_path, frames=3)
        jobs = [shop.desk.submit(film.id, "preview", choice(seed=seed)) for seed in (1, 2)]
        assert [shop.until(job, "done", "failed").state for job in jobs] == ["done", "done"]
        assert {call["seed"] for call in shop.pipeline.calls} == {1, 2}
        assert shop.store.job(jobs[0].id).options.seed == 1


def test_cancelled_job_is_gone_on_with(tmp_path):
    with Workshop(tmp_path / "data") as shop:
        shop.pipeline.seconds = 0.05
        film = shop.film(tmp_path)
        job = shop.desk.submit(film.id, "full", choice())
        shop.until(job, "running")
        shop.queue.cancel(job.id)
        stopped = shop.until(job, "stopped", "done", "failed")
        assert (stopped.state, stopped.message) == ("stopped", "Cancelled; what is finished is kept")
        assert shop.desk.result(stopped) is None
        shop.pipeline.seconds = 0.0
        shop.queue.resume(job.id)
        assert shop.until(job, "done", "failed").state == "done"
        assert size_of(shop.desk.result(shop.store.job(job.id))) == (384, 224, standins.FRAMES)


def test_job_that_fails_says_why_without_naming_folders(tmp_path):
    with Workshop(tmp_path / "data") as shop:
        film = shop.film(tmp_path)
        shop.store.source_of(film).write_bytes(b"no film any more")
        job = shop.until(shop.desk.submit(film.id, "full", choice()), "done", "failed")
        assert job.state == "failed"
        assert "clip.mp4 is not a video" in job.message
        assert str(tmp_path) not in job.message


@pytest.mark.parametrize(
    ("count", "picked"), [(1, (0,)), (3, (0, 1, 2)), (5, (0, 1, 2, 3, 4)), (50, (5, 15, 25, 35, 45))]
)
def test_pictures_are_spread_over_the_film(count, picked):
    assert pick(count) == picked


def test_job_that_was_begun_with_another_model_says_so_and_can_start_over(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "settings_of", lambda *given: replace(settings_of(*given), window=4, overlap=1))
    with Workshop(tmp_path / "data") as shop:
        shop.pipeline.seconds = 0.05
        film = shop.film(tmp_path)
        job = shop.desk.submit(film.id, "full", choice())
        while not list(shop.store.work_of(job).glob("windows/*.json")):
            assert shop.store.job(job.id).state in ("waiting", "running")
            time.sleep(0.01)
        shop.queue.cancel(job.id)
        shop.until(job, "stopped")
    with Workshop(tmp_path / "data") as shop:
        shop.pipeline.config = {"name": "another"}
        shop.queue.resume(job.id)
        failed = shop.until(job, "done", "failed")
        assert failed.state == "failed"
        assert "was begun with another model" in failed.message
        assert "or press Start over" in failed.message
        assert "--restart" not in failed.message
        shop.queue.resume(job.id, anew=True)
        assert shop.until(job, "done", "failed").state == "done"
        assert size_of(shop.desk.result(shop.store.job(job.id))) == (384, 224, standins.FRAMES)


@pytest.mark.parametrize("mark", [{"rotation": 90}, {"mirrored": True}])
def test_marked_film_is_shown_upright_everywhere(tmp_path, mark):
    frames = pictures(3)
    upright = frames[:, :, ::-1] if "mirrored" in mark else np.rot90(frames, 1, axes=(1, 2))
    height, width = upright.shape[1:3]
    with Workshop(tmp_path / "data") as shop:
        marked = write_film(tmp_path / "clip.mp4", frames, options={"crf": "0"}, pixel_format="yuv444p", **mark)
        film = shop.desk.take(arrived(shop.folder, marked))
        assert dict(film.facts)["Size"].startswith(f"{width} x {height} pixels, ")
        with Image.open(shop.desk.thumbnail(film)) as first:
            assert np.abs(np.asarray(first, float) - upright[0]).mean() < 12
        job = shop.until(shop.desk.submit(film.id, "full", choice()), "done", "failed")
        assert job.message == ""
        assert size_of(shop.desk.split(job)) == (4 * width, 4 * height, 3)
        large = upright[0].repeat(4, axis=0).repeat(4, axis=1)
        for path in shop.desk.pair(job, 0):
            assert np.abs(np.asarray(Image.open(path), float) - large).mean() < 12, path.name
        with open_source(shop.desk.split(job)) as split:
            assert (split.info.rotation, split.info.mirroring) == (0, None)
            low = slice(height, None)  # below the labels
            assert np.abs(next(iter(split)).pixels[low].astype(float) - large[low]).mean() < 12
