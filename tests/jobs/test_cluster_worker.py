"""A worker without a cluster: the frames it reads, what it sees, and one window."""

import hashlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from dgafvsr.errors import InputError, InterruptionError, ModelError, OutputError
from dgafvsr.jobs.cluster_worker import FilmFrames, FilmTask, WindowTask, Worker
from dgafvsr.jobs.fallback import Reduction
from dgafvsr.jobs.outputs import plan_output
from dgafvsr.jobs.parts import FilmPart, Place
from dgafvsr.jobs.sampling_plan import SamplingPlan
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.upscale import open_film
from dgafvsr.sampling.windows import Window
from tests.jobs.standins import Nearest, Summing, enlarged, lossless, pixels_of
from tests.video.films import pictures

COUNT = 12


def task_of(film, target, settings=None):
    settings = settings or UpscaleSettings(window=5, overlap=2)
    with open_film(film, settings) as reader:
        output = plan_output(target, reader.info, settings)
    plan = SamplingPlan(window=5, overlap=2, tile=None)
    return FilmTask(source=film, settings=settings, output=output, plan=plan, first_frame=0)


@pytest.fixture
def film(tmp_path):
    return lossless(tmp_path / "a.mkv", pictures(COUNT))


@pytest.fixture
def worker():
    return Worker(lambda: ("cpu", "float32"), None)


def window_task(film, tmp_path, window, **changes):
    task = WindowTask(
        film=task_of(film, tmp_path / "out"),
        shot_start=0,
        window=window,
        begun_from_sha256=None,
        reduction=Reduction(),
        place=tmp_path / f"{window.start:08d}",
        state_before=None,
        state_after=tmp_path / f"{window.start}.state",
    )
    return replace(task, **changes)


@pytest.mark.parametrize("starts", [[0, 3, 6], [6, 9], [6, 3, 0], [7, 7, 1]])
def test_frames_are_those_of_the_film_in_whatever_order_they_are_asked_for(film, tmp_path, starts):
    frames, expected = FilmFrames(task_of(film, tmp_path / "out")), pictures(COUNT)
    for start in starts:
        taken = frames.take(start, 3)
        np.testing.assert_array_equal([each.pixels for each in taken], expected[start : start + 3])
        assert [each.pts_seconds * 24 for each in taken] == pytest.approx([start, start + 1, start + 2], abs=0.05)
    frames.close()


def test_frames_of_a_part_are_counted_and_timed_from_its_start(film, tmp_path):
    settings = UpscaleSettings(window=5, overlap=2, part=FilmPart(start=Place(frame=4), stop=Place(frame=10)))
    frames = FilmFrames(task_of(film, tmp_path / "out", settings))
    taken = frames.take(2, 3)
    np.testing.assert_array_equal([each.pixels for each in taken], pictures(COUNT)[6:9])
    assert taken[0].pts_seconds == pytest.approx(Fraction(2, 24), abs=0.002)
    with pytest.raises(InputError, match=r"shorter on this machine.*6 frames"):
        frames.take(4, 3)
    frames.close()


def test_a_window_lies_in_the_job_folder_and_the_next_begins_from_its_state(film, tmp_path, worker):
    first = worker.sample(window_task(film, tmp_path, Window(start=0, stop=5, tail=2)), "m", lambda device: Summing())
    content = (tmp_path / "0.state").read_bytes()
    assert first.state_sha256 == hashlib.sha256(content).hexdigest()
    assert (first.frames, len(list((tmp_path / "00000000").iterdir()))) == (3, 3)
    second = window_task(
        film,
        tmp_path,
        Window(start=3, stop=8, head=2),
        begun_from_sha256=first.state_sha256,
        state_before=tmp_path / "0.state",
    )
    record = worker.sample(second, "m", lambda device: pytest.fail("the model is loaded once"))
    assert (record.frames, record.state_sha256, record.begun_from_sha256) == (5, None, first.state_sha256)
    assert not (tmp_path / "3.state").exists()
    with pytest.raises(OutputError, match="is damaged"):
        worker.sample(replace(second, begun_from_sha256="another"), "m", None)
    assert set(load_file(tmp_path / "0.state")) == {"mean"}
    (tmp_path / "0.state").unlink()
    with pytest.raises(OutputError, match=r"cannot be read.*all machines share"):
        worker.sample(second, "m", None)


def test_another_model_is_fetched_by_its_name(film, tmp_path, worker):
    window = window_task(film, tmp_path, Window(start=0, stop=3))
    worker.sample(window, "summing", lambda device: Summing())
    record = worker.sample(window, "nearest", lambda device: Nearest())
    np.testing.assert_array_equal(pixels_of(Path(record.segment_in(tmp_path).path)), enlarged(pictures(3)))


def test_work_is_counted_and_given_up_when_asked(film, tmp_path, worker):
    seen = []

    class Asking(Nearest):
        def __call__(self, frames, *, on_event, **options):
            def stop_at_four(event):
                seen.append(worker.look(len(seen) == 4))
                on_event(event)

            return super().__call__(frames, on_event=stop_at_four, **options)

    with pytest.raises(InterruptionError):
        worker.sample(window_task(film, tmp_path, Window(start=0, stop=3)), "m", lambda device: Asking())
    assert seen == [0, 1, 2, 3, 4]
    assert not (tmp_path / "00000000").exists()


def test_errors_can_travel(film, tmp_path, worker):
    class Unpicklable:
        def __str__(self):
            return "seen"

        def __reduce__(self):
            raise TypeError

    class Failing(Nearest):
        def __call__(self, frames, **options):
            raise ModelError("broken", got=Unpicklable(), remedy="mend it")

    with pytest.raises(ModelError) as caught:
        worker.sample(window_task(film, tmp_path, Window(start=0, stop=3)), "m", lambda device: Failing())
    assert (caught.value.what, caught.value.got, caught.value.remedy) == ("broken", "seen", "mend it")


def test_what_a_worker_does_not_see_is_named(film, tmp_path, worker):
    token = tmp_path / "token"
    token.write_text("secret")
    assert worker.unseen([film], token, "secret") is None
    assert worker.unseen([film], token, "another") == str(tmp_path)
    assert worker.unseen([film], tmp_path / "none", "secret") == str(tmp_path)
    assert worker.unseen([film, tmp_path / "b.mkv"], token, "secret") == str(tmp_path / "b.mkv")


def test_facts_are_those_of_this_process(worker):
    facts = worker.facts()
    assert (facts.device, facts.dtype) == ("cpu", "float32")
    assert set(facts.versions) == {"dgafvsr", "torch"}
    assert facts.memory_bytes > 0
