import os
import time
from dataclasses import replace
from fractions import Fraction

import pytest

from dgafvsr.apps.web.data_folder import DataFolder
from dgafvsr.apps.web.records import Film, Job, JobOptions, is_id, new_id
from dgafvsr.apps.web.store import Store
from dgafvsr.errors import UsageError

DAY = 24 * 3600


@pytest.fixture
def folder(tmp_path):
    with DataFolder(tmp_path / "data") as opened:
        yield opened


def film_in(store, **changes):
    film = Film(
        id=new_id(), name="a b.mp4", file="a_b.mp4", width=96, height=56, seconds=0.4, interlaced=False,
        facts=(("Size", "96 x 56 pixels"),), **changes,
    )  # fmt: skip
    source = store.source_of(film)
    source.parent.mkdir(parents=True)
    source.write_bytes(b"film")
    store.shown_of(film)
    store.add_film(film)
    return film


def job_in(store, film, **changes):
    job = Job(id=new_id(), film_id=film.id, film_name=film.name, kind="full", **changes)
    (store.shown_of(job) / "result.mp4").write_bytes(b"result")
    return store.save(job)


def test_films_and_jobs_outlive_the_server(folder):
    store = Store(folder, keep_days=7)
    film = film_in(store)
    options = JobOptions(start_seconds=0.1, stop_seconds=0.3, scale=2, seed=5)
    job = job_in(
        store, film, options=options, state="done", moments=(0.0, 0.1), facts=(("Size", "x"),), warnings=("a note",)
    )
    again = Store(folder, keep_days=7)
    assert again.films() == [film]
    assert again.jobs() == [job]


@pytest.mark.parametrize("state", ["waiting", "running"])
def test_unfinished_job_is_resumable_after_a_restart(folder, state):
    store = Store(folder, keep_days=7)
    job = job_in(store, film_in(store), state=state)
    found = Store(folder, keep_days=7).job(job.id)
    assert found.resumable
    assert "server was stopped" in found.message


def test_newest_comes_first(folder):
    store = Store(folder, keep_days=7)
    film = film_in(store)
    jobs = [job_in(store, film, created=float(moment)) for moment in (2, 3, 1)]
    assert [job.created for job in store.jobs()] == [3.0, 2.0, 1.0]
    assert store.job(jobs[0].id).created == 2.0


def test_expired_job_goes_with_its_files_and_then_its_film(folder):
    store = Store(folder, keep_days=2)
    film = film_in(store, created=time.time() - 9 * DAY)
    job = job_in(store, film, state="done")
    assert store.expire(time.time() + DAY) == 0
    assert store.expire(time.time() + 3 * DAY) == 2
    assert (store.films(), store.jobs()) == ([], [])
    for parent in (folder.films, folder.jobs, folder.shown):
        assert list(parent.iterdir()) == []
    assert Store(folder, keep_days=2).job(job.id) is None


@pytest.mark.parametrize("state", ["waiting", "running"])
def test_job_at_work_and_its_film_never_expire(folder, state):
    store = Store(folder, keep_days=2)
    film = film_in(store, created=0.0)
    job = job_in(store, film, state=state)
    assert store.expire(time.time() + 99 * DAY) == 0
    assert (store.films(), store.jobs()) == ([film], [job])
    assert store.source_of(film).exists()


def test_what_has_no_record_goes_when_it_is_old(folder):
    store = Store(folder, keep_days=2)
    for parent in (folder.films, folder.jobs, folder.shown):
        (parent / "0").mkdir()
    assert store.expire() == 0
    assert (folder.films / "0").exists()
    old = time.time() - 3 * DAY
    for parent in (folder.films, folder.jobs, folder.shown):
        os.utime(parent / "0", (old, old))
    store.expire()
    assert not any((parent / "0").exists() for parent in (folder.films, folder.jobs, folder.shown))


def test_upload_that_became_no_film_goes_after_an_hour(folder):
    store = Store(folder, keep_days=2)
    (folder.uploads / "left").mkdir()
    store.expire(time.time() + 600)
    assert (folder.uploads / "left").exists()
    store.expire(time.time() + 2 * 3600)
    assert not (folder.uploads / "left").exists()


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b'{"id": "../../../../etc"}', b'{"id": "0123456789abcdef"}', b"[" * 100_000],
)
def test_damaged_record_is_as_if_it_were_not_there(folder, damage):
    store = Store(folder, keep_days=2)
    film = film_in(store)
    job = job_in(store, film, state="done")
    (folder.jobs / job.id / "job.json").write_bytes(damage)
    again = Store(folder, keep_days=2)
    assert (again.films(), again.jobs()) == ([film], [])


def test_record_with_a_wrong_state_is_not_there(folder):
    store = Store(folder, keep_days=2)
    job = job_in(store, film_in(store), state="done")
    path = folder.jobs / job.id / "job.json"
    path.write_text(path.read_text().replace('"done"', '"flying"'))
    assert Store(folder, keep_days=2).jobs() == []


@pytest.mark.parametrize("text", ["../../etc", "", "0123456789abcde", "0123456789abcdeg", "0123456789ABCDEF", None, 5])
def test_only_our_own_names_are_names(text):
    assert not is_id(text)
    assert is_id(new_id())


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": 5},
        {"quality": "perfect"},
        {"format": "AVI"},
        {"start_seconds": -1.0},
        {"start_seconds": 1.0, "stop_seconds": 1.0},
        {"start_seconds": float("nan")},
        {"stop_seconds": float("inf")},
    ],
)
def test_impossible_choice_is_refused(wrong):
    with pytest.raises(UsageError):
        JobOptions(**wrong)


def test_part_of_a_job_is_exact():
    job = Job(id=new_id(), film_id=new_id(), film_name="a", kind="full")
    assert job.part is None
    part = replace(job, options=JobOptions(start_seconds=0.1, stop_seconds=2.35)).part
    assert (part.start.seconds, part.stop.seconds) == (Fraction(1, 10), Fraction(47, 20))
