"""The same film on a cluster: the same frames, whatever becomes of the workers. Starts Ray on this machine."""

import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("ray", reason="needs the extra `batch`")

import ray

from dgafvsr.errors import InterruptionError, ModelError, OutputError, ResourceError, UsageError
from dgafvsr.jobs import cluster_pool
from dgafvsr.jobs.batch import run_batch
from dgafvsr.jobs.batch_inputs import plan_batch
from dgafvsr.jobs.cluster import Cluster, check_alike, open_cluster, threads_each
from dgafvsr.jobs.cluster_connection import connect
from dgafvsr.jobs.cluster_worker import WorkerFacts, versions
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.upscale import upscale_file
from dgafvsr.video.codecs import EncoderSettings
from tests import factories
from tests.jobs.standins import STEPS, Summing, job_of, lossless, pixels_of
from tests.video.films import pictures

SETTINGS = UpscaleSettings(window=5, overlap=2)
LENGTHS = (9, 1, 12, 6)


class Deadly(Summing):
    """Ends its process at a frame, once for each life that the folder still holds."""

    def __init__(self, lives, frame):
        super().__init__()
        self._lives, self._frame = lives, frame

    def __call__(self, frames, *, first_frame, **options):
        if first_frame == self._frame:
            for life in sorted(self._lives.iterdir()):
                life.unlink()
                os._exit(1)
        return super().__call__(frames, first_frame=first_frame, **options)


class NotNumbers(Summing):
    """Gives NaN for the frames from 12 on."""

    def __call__(self, frames, *, first_frame, **options):
        result = super().__call__(frames, first_frame=first_frame, **options)
        if first_frame >= 12:
            result.frames[:] = np.nan
        return result


def place():
    return "cpu", "float32"


def shots(lengths=LENGTHS):
    """Scenes that share nothing."""
    scenes = [np.roll(pictures(length), 7 * index, axis=-1) for index, length in enumerate(lengths)]
    return np.concatenate([255 - scene if index % 2 else scene for index, scene in enumerate(scenes)])


@pytest.fixture(scope="module")
def cluster():
    connect("local", 2)
    with open_cluster("auto", place, workers=2, device="cpu") as workers:
        yield workers
    ray.shutdown()


@pytest.fixture
def film(tmp_path):
    (tmp_path / "in").mkdir()
    film = lossless(tmp_path / "in" / "a.mkv", shots())
    starts = [sum(LENGTHS[:index]) for index in range(len(LENGTHS))]
    listed = ", ".join(f'{{"start_frame": {start}}}' for start in starts)
    (tmp_path / "in" / "shots.json").write_text(f'{{"shots": [{listed}]}}')
    return film


@pytest.fixture
def settings(film):
    return replace(SETTINGS, shots=film.with_name("shots.json"))


def made(cluster, film, target, model, settings, listener=None, **options):
    return cluster.upscale(film, target, cluster.share(model), settings, listener, **options)


@pytest.mark.slow
def test_what_workers_do_not_see_is_named_before_any_work(cluster, film, tmp_path):
    cluster.check_sees([film], tmp_path)
    with pytest.raises(OutputError, match=r"does not see .*none\.mkv.*under the same names"):
        cluster.check_sees([film, tmp_path / "none.mkv"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out", "out.mkv"])
def test_frames_and_progress_are_those_of_one_machine(cluster, film, settings, tmp_path, name):
    if name != "out":
        settings = replace(settings, encoder=EncoderSettings(codec="ffv1"))
    here, there = [], []
    alone = upscale_file(film, tmp_path / f"alone-{name}", Summing(), settings, here.append)
    summary = made(cluster, film, tmp_path / name, Summing(), settings, there.append)
    np.testing.assert_array_equal(pixels_of(tmp_path / name), pixels_of(alone.output))
    assert (summary.frames, summary.shots, summary.window) == (alone.frames, alone.shots, alone.window)
    assert there[-1] == here[-1]
    assert summary.warnings == alone.warnings
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in", name, f"alone-{name}"])


@pytest.mark.slow
def test_a_real_pipeline_gives_the_same_bytes(cluster, tmp_path):
    film = lossless(tmp_path / "a.mkv", factories.clip(12, 18, 22))
    (tmp_path / "shots.json").write_text('{"shots": [{"start_frame": 0}, {"start_frame": 5}]}')
    settings = replace(SETTINGS, window=4, shots=tmp_path / "shots.json")
    pipeline = factories.pipeline()
    upscale_file(film, tmp_path / "alone", pipeline, settings)
    made(cluster, film, tmp_path / "out", pipeline, settings)
    assert [path.read_bytes() for path in sorted((tmp_path / "out").iterdir())] == [
        path.read_bytes() for path in sorted((tmp_path / "alone").iterdir())
    ]


def test_a_killed_worker_costs_no_frame_and_doubles_none(cluster, film, settings, tmp_path):
    upscale_file(film, tmp_path / "alone", Summing(), settings)
    lives = tmp_path / "lives"
    lives.mkdir()
    (lives / "a").touch()
    told = []
    summary = made(cluster, film, tmp_path / "out", Deadly(lives, 13), settings, told.append)
    assert list(lives.iterdir()) == []
    assert summary.frames == sum(LENGTHS)
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), pixels_of(tmp_path / "alone"))
    assert (told[-1].work_done, told[-1].frames_done) == (told[-1].work_total, sum(LENGTHS))


@pytest.mark.slow
def test_a_window_that_kills_every_worker_is_given_up(cluster, film, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_pool, "MOST_DEATHS", 1)
    lives = tmp_path / "lives"
    lives.mkdir()
    (lives / "a").touch()
    with pytest.raises(ResourceError, match=r"1 workers died.*frame 13"):
        made(cluster, film, tmp_path / "out", Deadly(lives, 13), settings)
    made(cluster, film, tmp_path / "out", Deadly(lives, 13), settings)
    upscale_file(film, tmp_path / "alone", Summing(), settings)
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), pixels_of(tmp_path / "alone"))


@pytest.mark.slow
def test_an_error_of_the_model_ends_the_film_and_says_which_frame(cluster, film, settings, tmp_path):
    both_shots = r"NaN.*frame (1[2-9]|2[2-7])\b"  # they are sampled side by side, and either may be the first to fail
    with pytest.raises(ModelError, match=both_shots) as caught:
        made(cluster, film, tmp_path / "out", NotNumbers(), settings)
    assert "the same command goes on from there" in caught.value.__notes__[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_job_goes_on_from_a_cluster_to_one_machine_and_back(cluster, film, settings, tmp_path):
    told = []

    def stop():
        return any(each.frames_done for each in told)

    with pytest.raises(InterruptionError) as caught:
        made(cluster, film, tmp_path / "out", Summing(), settings, told.append, wants_stop=stop)
    assert "finished frames are kept" in caught.value.__notes__[0]
    assert job_of(tmp_path / "out").is_dir()
    heard = []
    with pytest.raises(InterruptionError):
        upscale_file(
            film, tmp_path / "out", Summing(), settings, heard.append, wants_stop=lambda: len(heard) > 5 * STEPS
        )
    summary = made(cluster, film, tmp_path / "out", Summing(), settings)
    assert summary.frames_resumed > 0
    upscale_file(film, tmp_path / "alone", Summing(), settings)
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), pixels_of(tmp_path / "alone"))


@pytest.mark.slow
def test_a_batch_shares_the_workers_between_its_films(cluster, tmp_path):
    (tmp_path / "in").mkdir()
    for index, length in enumerate((4, 11, 7)):
        lossless(tmp_path / "in" / f"{index}.mkv", pictures(length))
    (tmp_path / "in" / "broken.mkv").write_bytes(b"no film")
    files = plan_batch([str(tmp_path / "in")], tmp_path / "out")
    settings = replace(SETTINGS, encoder=EncoderSettings(codec="ffv1"))
    report = run_batch(files, lambda: cluster.share(Summing()), settings, retries=0, at_once=2, upscale=cluster.upscale)
    assert [each.status for each in report.results] == ["done", "done", "done", "failed"]
    for file in files[:3]:
        alone = upscale_file(file.source, tmp_path / file.source.name, Summing(), settings).output
        np.testing.assert_array_equal(pixels_of(file.target), pixels_of(alone))
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.name[0] != ".") == [
        "0.mkv",
        "1.mkv",
        "2.mkv",
    ]


@pytest.mark.slow
def test_workers_that_cannot_do_what_is_asked_are_refused(cluster):
    with pytest.raises(UsageError, match="no GPU"), open_cluster("auto", place, device="cuda"):
        pass
    with pytest.raises(UsageError, match=r"too few cores.*99"), open_cluster("auto", place, workers=99):
        pass
    with pytest.raises(UsageError, match="number of workers"), open_cluster("auto", place, workers=0):
        pass


def facts(**changes):
    known = {"machine": "one", "process": 1, "versions": versions(), "device": "cpu", "dtype": "float32"}
    return WorkerFacts(**known | {"memory_bytes": 10**9} | changes)


def test_workers_of_other_versions_or_dtypes_are_refused():
    check_alike([facts(), facts(machine="two", process=7)])
    old = versions() | {"torch": "1.0"}
    with pytest.raises(UsageError, match=r"worker on two runs other versions.*torch 1\.0.*same versions"):
        check_alike([facts(), facts(machine="two", versions=old)])
    with pytest.raises(UsageError, match=r"cpu with bfloat16, cpu with float32.*--dtype"):
        check_alike([facts(), facts(dtype="bfloat16")])
    check_alike([facts(device="cuda:0"), facts(device="cuda:1")])


@pytest.mark.parametrize(
    ("cores", "workers", "each"),
    [([8, 8], 2, 8), ([8, 8], 3, 4), ([8, 8, 8], 2, 8), ([2], 2, 1), ([2], 3, 0), ([], 1, 0), ([16, 4], 5, 4)],
)
def test_workers_get_as_many_cores_as_there_are_on_one_machine(cores, workers, each):
    assert threads_each(cores, workers) == each


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense", "host:port"])
def test_a_cluster_that_is_not_there_is_one_message(address):
    with pytest.raises(UsageError, match=f"The Ray cluster {address} cannot be reached.*ray start"):
        connect(address, None)


class Offloadable(Summing):
    """Says how its weights were to come and go."""

    def to(self, device):
        self.asked = "none", device
        return self

    def enable_model_cpu_offload(self, device):
        self.asked = "model", device


@pytest.mark.parametrize("offload", ["none", "model"])
def test_workers_let_weights_wait_as_the_driver_says(monkeypatch, offload):
    monkeypatch.setattr(ray, "put", lambda model: model)
    monkeypatch.setattr(ray, "get", lambda model: model)
    facts = SimpleNamespace(device="cuda:0", dtype="float32")
    shared = Cluster([facts], None, []).share(Offloadable(), offload)
    _, fetch = shared.handle
    assert fetch("cuda:0").asked == (offload, "cuda:0")
