import threading
from dataclasses import replace

import pytest

from dgafvsr.apps.web.progress import JobProgress
from dgafvsr.errors import InputError, InterruptionError, ResourceError, UsageError
from tests.apps.web.standins import Workshop, choice


class Hand:
    """Does jobs when it is told to, and remembers how many it had in hand at once."""

    def __init__(self):
        self.go, self.begun = threading.Semaphore(0), threading.Semaphore(0)
        self.order, self.at_once, self.most_at_once = [], 0, 0

    def __call__(self, job, tell, wants_stop):
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.order.append(job.id)
        tell(JobProgress(phase="Working", share=0.5))
        self.begun.release()
        try:
            while not self.go.acquire(timeout=0.01):
                if wants_stop():
                    raise InterruptionError("stopped")
        finally:
            self.at_once -= 1
        return job


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def shop(tmp_path, hand):
    with Workshop(tmp_path / "data", run=hand, longest_queue=3) as opened:
        opened.film_id = opened.film(tmp_path, frames=2).id
        yield opened


def submit(shop, **changes):
    return shop.desk.submit(shop.film_id, "full", choice(**changes))


def test_jobs_are_done_one_at_a_time_in_order(shop, hand):
    jobs = [submit(shop) for _ in range(3)]
    hand.begun.acquire()
    assert [shop.store.job(job.id).state for job in jobs] == ["running", "waiting", "waiting"]
    assert shop.queue.progress_of(jobs[0].id).phase == "Working"
    assert shop.queue.progress_of(jobs[2].id).phase == "Waiting for 2 other jobs"
    hand.go.release(3)
    for job in jobs:
        shop.until(job, "done")
    assert hand.order == [job.id for job in jobs]
    assert hand.most_at_once == 1


def test_cancelled_job_stops_and_the_next_begins(shop, hand):
    first, second = submit(shop), submit(shop)
    hand.begun.acquire()
    shop.queue.cancel(first.id)
    assert shop.until(first, "stopped").message == "Cancelled; what is finished is kept"
    hand.begun.acquire()
    assert shop.store.job(second.id).state == "running"


def test_waiting_job_is_cancelled_at_once(shop, hand):
    first, second = submit(shop), submit(shop)
    hand.begun.acquire()
    shop.queue.cancel(second.id)
    assert shop.store.job(second.id).state == "stopped"
    hand.go.release()
    shop.until(first, "done")
    assert hand.order == [first.id]


def test_stopped_job_waits_again_when_it_is_resumed(shop, hand):
    job = submit(shop)
    hand.begun.acquire()
    shop.queue.cancel(job.id)
    shop.until(job, "stopped")
    shop.queue.resume(job.id)
    hand.begun.acquire()
    hand.go.release()
    assert shop.until(job, "done").message == ""


def test_leaving_stops_everything_and_keeps_it_resumable(tmp_path, hand):
    with Workshop(tmp_path / "data", run=hand) as shop:
        shop.film_id = shop.film(tmp_path, frames=2).id
        running, waiting = submit(shop), submit(shop)
        hand.begun.acquire()
    assert [shop.store.job(job.id).state for job in (running, waiting)] == ["stopped", "stopped"]
    assert "server was stopped" in shop.store.job(running.id).message
    with Workshop(tmp_path / "data", run=hand) as shop:
        shop.queue.resume(running.id)
        hand.go.release()
        assert shop.until(running, "done").state == "done"


def test_full_queue_refuses(shop, hand):
    submit(shop)
    hand.begun.acquire()
    for _ in range(3):
        submit(shop)
    with pytest.raises(ResourceError, match=r"queue is full.*3 jobs"):
        submit(shop)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (InputError("The frames are too dark"), "The frames are too dark."),
        (ZeroDivisionError("secret /path"), "Internal error (ZeroDivisionError); the server's log says where"),
    ],
)
def test_failure_is_said_and_the_queue_goes_on(tmp_path, problem, message):
    def fail(job, tell, wants_stop):
        if job.options.seed:
            raise problem
        return job

    with Workshop(tmp_path / "data", run=fail) as shop:
        shop.film_id = shop.film(tmp_path, frames=2).id
        failing, fine = submit(shop, seed=1), submit(shop)
        failed = shop.until(failing, "failed")
        assert failed.message == message
        assert failed.resumable
        shop.until(fine, "done")


def test_job_of_no_film_is_refused(shop):
    for film_id in (None, "../../etc/passwd", "0123456789abcdef"):
        with pytest.raises(InputError, match="upload one first"):
            shop.desk.submit(film_id, "full", choice())


def test_range_after_the_end_is_refused(shop):
    with pytest.raises(UsageError, match="after the film's end"):
        submit(shop, start=7.0, stop=9.0)


def test_finished_job_is_not_resumed(shop, hand):
    job = submit(shop)
    hand.go.release()
    shop.until(job, "done")
    with pytest.raises(UsageError, match="cannot be gone on with"):
        shop.queue.resume(job.id)
    with pytest.raises(InputError, match="no longer here"):
        shop.queue.resume("../jobs")


def test_only_finished_jobs_are_deleted(shop, hand):
    job = submit(shop)
    hand.begun.acquire()
    with pytest.raises(UsageError, match="cancel it first"):
        shop.queue.remove(job.id)
    hand.go.release()
    shop.until(job, "done")
    shop.queue.remove(job.id)
    shop.queue.remove(job.id)
    assert shop.store.job(job.id) is None


@pytest.mark.parametrize(
    ("kind", "start", "stop", "made"),
    [
        ("full", 0.0, 99.0, (0.0, None)),
        ("full", 0.02, 99.0, (0.02, None)),
        ("full", 0.0, 0.04, (0.0, 0.04)),
        ("preview", 0.02, 0.06, (0.02, 0.06)),
        ("preview", 0.0, 99.0, (0.0, None)),
    ],
)
def test_range_of_the_sliders_becomes_that_of_the_job(shop, kind, start, stop, made):
    options = shop.desk.submit(shop.film_id, kind, choice(start=start, stop=stop)).options
    assert (options.start_seconds, options.stop_seconds) == made


def test_preview_of_a_long_film_is_two_seconds(shop):
    from dataclasses import replace

    film = replace(shop.store.film(shop.film_id), seconds=60.0)
    shop.store.add_film(film)
    for start, stop, made in ((0.0, 60.0, (0.0, 2.0)), (30.0, 60.0, (30.0, 32.0)), (5.0, 6.0, (5.0, 6.0))):
        options = shop.desk.submit(film.id, "preview", choice(start=start, stop=stop)).options
        assert (options.start_seconds, options.stop_seconds) == made
        shop.queue.cancel(shop.store.jobs()[0].id)


def test_failed_job_starts_over_without_what_was_finished(shop, hand):
    job = submit(shop)
    hand.begun.acquire()
    shop.store.work_of(job).mkdir()
    (shop.store.shown_of(job) / "clip_x4.mp4").touch()
    with pytest.raises(UsageError, match="cannot be gone on with"):
        shop.queue.resume(job.id, anew=True)
    assert shop.store.work_of(job).exists()
    shop.store.save(replace(shop.store.job(job.id), output="clip_x4.mp4", warnings=("old",)))
    shop.queue.cancel(job.id)
    shop.until(job, "stopped")
    again = shop.queue.resume(job.id, anew=True)
    assert (again.state, again.output, again.warnings) == ("waiting", None, ())
    assert not shop.store.work_of(job).exists()
    assert list(shop.store.shown_of(job).iterdir()) == []
    hand.begun.acquire()
    hand.go.release()
    assert shop.until(job, "done").message == ""
