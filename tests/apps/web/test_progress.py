from dataclasses import replace

from dgafvsr.apps.web.progress import Eta
from dgafvsr.jobs.progress import UpscaleProgress


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def at(done, total=100):
    return UpscaleProgress(frames_done=done // 2, frames_total=50, work_done=done, work_total=total)


def test_forecast_follows_the_speed():
    clock = Clock()
    eta = Eta(clock)
    assert eta(at(1)).seconds_left is None
    clock.now += 10
    for done in range(2, 12):
        told = eta(at(done))
    assert told.seconds_left == 89.0
    assert told.share == 0.11
    assert (told.frames_done, told.frames_total) == (5, 50)


def test_what_an_earlier_run_had_done_is_no_speed():
    clock = Clock()
    eta = Eta(clock)
    eta(at(40))
    clock.now += 5
    eta(at(80))  # a second finished window
    clock.now += 10
    assert eta(at(81)).seconds_left == 190.0


def test_unknown_length_has_no_forecast():
    clock = Clock()
    eta = Eta(clock)
    eta(at(1, None))
    clock.now += 60
    told = eta(at(2, None))
    assert (told.share, told.seconds_left) == (None, None)


def test_checking_and_assembling_have_a_share_of_their_own():
    told = Eta(Clock())(replace(at(100), phase="assembling", phase_share=0.25))
    assert (told.phase, told.share, told.frames_done, told.seconds_left) == ("Assembling", 0.25, 50, None)


def test_end_of_the_work_is_not_the_end():
    clock = Clock()
    eta = Eta(clock)
    eta(at(1))
    clock.now += 60
    for done in range(2, 101):
        told = eta(at(done))
    assert (told.phase, told.share, told.seconds_left) == ("Finishing", 1.0, None)
