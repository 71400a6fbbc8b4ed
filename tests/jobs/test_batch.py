"""Many films: what is made, passed over, refused, tried again, and what a failure leaves."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest

from dgafvsr.errors import InputError, ModelError, OutputError, UsageError
from dgafvsr.jobs.batch import run_batch
from dgafvsr.jobs.batch_inputs import plan_batch
from dgafvsr.jobs.batch_records import record_of
from dgafvsr.jobs.settings import JobSettings, UpscaleSettings
from dgafvsr.jobs.upscale import upscale_file
from dgafvsr.video.codecs import EncoderSettings
from tests.jobs.standins import Nearest, Summing, enlarged, job_of, lossless, pixels_of
from tests.video.films import listing, pictures

SETTINGS = UpscaleSettings(window=5, overlap=2, encoder=EncoderSettings(codec="ffv1"))
COUNTS = {"a.mkv": 7, "b.mkv": 9, "c.mkv": 6}


@pytest.fixture
def films(tmp_path):
    (tmp_path / "in").mkdir()
    for name, count in COUNTS.items():
        lossless(tmp_path / "in" / name, pictures(count))
    return tmp_path / "in"


class Loader:
    """Counts how often the model is loaded."""

    def __init__(self, model):
        self.model, self.times = model, 0

    def __call__(self):
        self.times += 1
        return self.model


def run(films, output, model=None, settings=SETTINGS, **options):
    load = model if isinstance(model, Loader) else Loader(model or Summing())
    return run_batch(plan_batch([str(films)], output), load, settings, **options)


def statuses(report):
    return [each.status for each in report.results]


def test_every_film_is_made_as_upscale_makes_it_and_the_model_loaded_once(films, tmp_path):
    load, events = Loader(Summing()), []
    report = run(films, tmp_path / "out", load, listener=events.append)
    assert statuses(report) == ["done"] * 3
    assert load.times == 1
    for name, count in COUNTS.items():
        alone = upscale_file(films / name, tmp_path / name, Summing(), SETTINGS).output
        np.testing.assert_array_equal(pixels_of(tmp_path / "out" / name), pixels_of(alone))
        assert len(pixels_of(alone)) == count
    assert [each.summary["frames"] for each in report.results] == list(COUNTS.values())
    assert [event.file.source.name for event in events if event.result] == list(COUNTS)
    assert any(event.progress for event in events)
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.endswith("-job")]


def test_films_at_once_give_the_same(films, tmp_path):
    report = run(films, tmp_path / "out", at_once=3)
    assert statuses(report) == ["done"] * 3
    run(films, tmp_path / "alone")
    for name in COUNTS:
        np.testing.assert_array_equal(pixels_of(tmp_path / "out" / name), pixels_of(tmp_path / "alone" / name))


def test_what_is_done_is_passed_over_with_what_it_told(films, tmp_path):
    first = run(films, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.mkv")}
    model = Summing()
    second = run(films, tmp_path / "out", model, replace(SETTINGS, overwrite=True))
    assert statuses(second) == ["skipped"] * 3
    assert model.calls == []
    assert [each.summary for each in second.results] == [each.summary for each in first.results]
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.mkv")}


def test_one_broken_film_does_not_stop_the_others(films, tmp_path):
    (films / "a.mkv").write_bytes(b"no film")
    report = run(films, tmp_path / "out", retries=0)
    assert statuses(report) == ["failed", "done", "done"]
    assert isinstance(report.results[0].error, InputError)
    assert not {".a.mkv.dgafvsr-done.json", "a.mkv"} & set(listing(tmp_path / "out"))


def other_settings(films):
    return {"settings": replace(SETTINGS, seed=1)}


def other_model(films):
    return {"model": Summing(name="other")}


def other_input(films):
    lossless(films / "b.mkv", pictures(8))
    return {}


def changed_result(films):
    result = films.parent / "out" / "b.mkv"
    result.write_bytes(result.read_bytes() + b"x")
    return {}


def lost_record(films):
    record_of(films.parent / "out" / "b.mkv").unlink()
    return {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_settings, "other settings.*seed 1.*seed 0"),
        (other_model, "another model"),
        (other_input, "another input"),
        (changed_result, "changed since"),
        (lost_record, "nothing says"),
    ],
)
def test_results_made_otherwise_are_refused_and_replaced_only_when_allowed(films, tmp_path, change, said):
    run(films, tmp_path / "out")
    options = change(films)
    before = (tmp_path / "out" / "b.mkv").read_bytes()
    report = run(films, tmp_path / "out", **options)
    refused = report.results[1]
    assert (refused.status, refused.attempts) == ("refused", 1)
    with pytest.raises(OutputError, match=said):
        raise refused.error
    assert (tmp_path / "out" / "b.mkv").read_bytes() == before
    options["settings"] = replace(options.get("settings", SETTINGS), overwrite=True)
    assert run(films, tmp_path / "out", **options).results[1].status == "done"
    assert run(films, tmp_path / "out", **options).results[1].status == "skipped"


def test_failed_films_are_tried_again_after_the_others_and_go_on(films, tmp_path):
    fails = [2, 1]

    def fail_at_first(result, first_frame):
        if first_frame == 3 and fails and fails.pop():
            raise RuntimeError("not now")
        return result

    events = []
    report = run(films, tmp_path / "out", Summing(spoil=fail_at_first), retries=1, listener=events.append)
    assert statuses(report) == ["done"] * 3
    assert [each.attempts for each in report.results] == [2, 2, 1]
    ends = [(event.file.source.name, event.result.status, event.again) for event in events if event.result]
    assert ends[:3] == [("a.mkv", "failed", True), ("b.mkv", "failed", True), ("c.mkv", "done", False)]
    assert [each.summary["frames_resumed"] for each in report.results] == [3, 3, 0]


def test_retries_end_and_wrong_usage_is_not_tried_again(films, tmp_path):
    (films / "a.mkv").write_bytes(b"no film")
    assert run(films, tmp_path / "out", retries=2).results[0].attempts == 3
    picture_folders = plan_batch([str(films / "b.mkv")], tmp_path / "pictures", container="pictures")
    report = run_batch(picture_folders, Summing, SETTINGS, retries=2)
    assert (report.results[0].status, report.results[0].attempts) == ("failed", 1)
    assert isinstance(report.results[0].error, UsageError)
    assert not (tmp_path / "pictures").exists()


def stopping_in(name):
    """Options of a batch that is asked to stop when the film has its first frames."""
    told = []

    def wants_stop():
        return any(each.file.source.name == name and each.progress and each.progress.frames_done for each in told)

    return {"listener": told.append, "wants_stop": wants_stop}


def test_a_wish_to_stop_keeps_what_is_finished_and_begins_nothing_more(films, tmp_path):
    report = run(films, tmp_path / "out", **stopping_in("b.mkv"))
    assert statuses(report) == ["done", "interrupted", "not started"]
    assert job_of(tmp_path / "out" / "b.mkv").is_dir()
    again = run(films, tmp_path / "out")
    assert statuses(again) == ["skipped", "done", "done"]
    assert again.results[1].summary["frames_resumed"] > 0
    run(films, tmp_path / "whole")
    for name in COUNTS:
        np.testing.assert_array_equal(pixels_of(tmp_path / "out" / name), pixels_of(tmp_path / "whole" / name))


def test_a_kill_between_result_and_record_is_seen_as_done(films, tmp_path, monkeypatch):
    class KilledError(BaseException):
        pass

    def killed(*words, **options):
        upscale_file(*words, **options)
        raise KilledError

    with pytest.raises(KilledError):
        run(films, tmp_path / "out", upscale=killed)
    assert (tmp_path / "out" / "a.mkv").exists()
    assert json.loads(record_of(tmp_path / "out" / "a.mkv").read_text())["result"] is None
    report = run(films, tmp_path / "out")
    assert statuses(report) == ["skipped", "done", "done"]
    assert statuses(run(films, tmp_path / "out")) == ["skipped"] * 3


def test_a_result_beside_an_unfinished_job_is_not_taken_for_its_own(films, tmp_path):
    run(films, tmp_path / "out", **stopping_in("a.mkv"))
    (tmp_path / "out" / "a.mkv").write_bytes(b"mine")
    report = run(films, tmp_path / "out")
    assert statuses(report) == ["refused", "done", "done"]
    assert (tmp_path / "out" / "a.mkv").read_bytes() == b"mine"


def test_a_model_that_cannot_be_loaded_ends_the_batch(films, tmp_path):
    def load():
        raise ModelError("no such model")

    with pytest.raises(ModelError, match="no such model"):
        run_batch(plan_batch([str(films)], tmp_path / "out"), load, SETTINGS, at_once=2)
    assert not (tmp_path / "out").exists()


def test_the_model_is_not_loaded_for_films_that_cannot_be_read(films, tmp_path):
    load = Loader(Summing())
    for name in COUNTS:
        (films / name).write_bytes(b"no film")
    assert statuses(run(films, tmp_path / "out", load, retries=0)) == ["failed"] * 3
    assert load.times == 0


def test_pictures_take_the_frame_rate_and_films_keep_theirs(films, tmp_path):
    from fractions import Fraction

    from PIL import Image

    from dgafvsr.video.reader import open_source

    (films / "clip").mkdir()
    for index, pixels in enumerate(pictures(3)):
        Image.fromarray(pixels).save(films / "clip" / f"{index}.png")
    files = plan_batch([str(films / "a.mkv"), str(films / "clip")], tmp_path / "out", container="mkv")
    report = run_batch(files, Nearest, replace(SETTINGS, frame_rate=Fraction(30)))
    assert statuses(report) == ["done", "done"]
    with open_source(tmp_path / "out" / "clip.mkv") as film:
        assert film.info.frame_rate == 30
    np.testing.assert_array_equal(pixels_of(tmp_path / "out" / "clip.mkv"), enlarged(pictures(3)))


@pytest.mark.parametrize("settings", [{"shots": "x.json"}, {"save_shots": "x.json"}, {"job": JobSettings(folder="x")}])
def test_what_belongs_to_one_film_is_refused(films, tmp_path, settings):
    with pytest.raises(UsageError, match="one film"):
        run(films, tmp_path / "out", settings=replace(SETTINGS, **settings))


def test_listeners_are_told_one_thing_at_a_time(films, tmp_path, monkeypatch):
    inside, most = [], []

    def hear(event):
        inside.append(threading.get_ident())
        most.append(len(inside))
        inside.pop()

    run(films, tmp_path / "out", at_once=3, listener=hear)
    assert set(most) == {1}


def test_films_with_the_longest_names_have_records_too(tmp_path):
    (tmp_path / "in").mkdir()
    lossless(tmp_path / "in" / f"{'n' * 251}.mkv", pictures(3))
    assert statuses(run(tmp_path / "in", tmp_path / "out")) == ["done"]
    assert statuses(run(tmp_path / "in", tmp_path / "out")) == ["skipped"]
