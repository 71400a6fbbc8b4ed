"""Shots through windows, without a disk: every frame comes out once, in order, with the state of the window before."""

import threading
from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dgafvsr.jobs.fallback import FallbackUpscaler
from dgafvsr.jobs.progress import Meter, UpscaleProgress
from dgafvsr.jobs.sampling_plan import SamplingPlan
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.stream import WindowStream
from dgafvsr.sampling.windows import plan_windows
from dgafvsr.video.frames import Frame
from dgafvsr.video.segments import Segment
from dgafvsr.video.shots import ShotStream
from tests.jobs.standins import STEPS, Nearest, Result, enlarged

TICK = Fraction(1, 24)


class Shelf:
    """Job folder and output at once, in memory."""

    def __init__(self):
        self.records, self.pictures, self.pts = [], [], []

    def kept(self, start, **facts):
        return None

    def lost(self, start):
        return None

    def place_for(self, start):
        return start

    def store(self, place, frames, pictures):
        self.pictures += list(pictures)
        self.pts += [frame.pts for frame in frames]
        times = tuple(frame.pts for frame in frames)
        return Segment(path=PathName(place), pts=times, durations=times, sha256="", reordering=0)

    def finish(self, record, state):
        self.records.append(record)


class PathName:
    def __init__(self, start):
        self.name = str(start)


def frame(index):
    return Frame(pixels=np.full((16, 18, 3), index % 251, np.uint8), pts=index, time_base=TICK, duration=1)


def stream(lengths, window, overlap, first_frame=0, told=None, upscaler=None):
    shelf, upscaler = Shelf(), upscaler or Nearest()
    shots, start = [], 0
    for length in lengths:
        shots.append(ShotStream(start=start, frames=iter([frame(k) for k in range(start, start + length)])))
        start += length
    overlap = min(overlap, window - 1)
    begin = UpscaleProgress(frames_done=0, frames_total=sum(lengths), work_done=0, work_total=None)
    meter = Meter(begin, None if told is None else told.append)
    meter.planned(steps=STEPS, window=window, overlap=overlap)
    run = WindowStream(
        FallbackUpscaler(upscaler),
        shelf,
        shelf,
        UpscaleSettings(),
        plan=SamplingPlan(window=window, overlap=overlap, tile=None),
        meter=meter,
        wants_stop=bool,
        first_frame=first_frame,
    )
    return run.run(shots), shelf, upscaler


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 12), st.integers(0, 11), st.integers(0, 1000)
)
def test_every_frame_comes_out_once_in_order(lengths, window, overlap, first_frame):
    count, shelf, upscaler = stream(lengths, window, overlap, first_frame)
    total, overlap = sum(lengths), min(overlap, window - 1)
    assert count == total
    assert shelf.pts == list(range(total))
    for index, picture in enumerate(shelf.pictures):
        np.testing.assert_array_equal(np.rint(picture * 255), enlarged(frame(index).pixels[None])[0])
    assert all(before.stop == after.start for before, after in pairwise(shelf.records))
    assert all(record.sampled <= window for record in shelf.records)
    assert [call[0] - first_frame for call in upscaler.calls] == [record.start for record in shelf.records]
    for before, after in pairwise(shelf.records):
        same_shot = before.shot_start == after.shot_start
        assert after.head == (overlap if same_shot else 0)
        assert after.begun_from_sha256 == (before.state_sha256 if same_shot else None)
        assert (before.state_sha256 is not None) == (same_shot and overlap > 0)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=3), st.integers(1, 9), st.integers(0, 8))
def test_progress_ends_at_all_the_work(lengths, window, overlap):
    told = []
    _, shelf, _ = stream(lengths, window, overlap, told=told)
    work = STEPS * sum(record.sampled for record in shelf.records)
    assert (told[-1].work_done, told[-1].work_total, told[-1].frames_done) == (work, work, sum(lengths))


class Meeting(Nearest):
    """Its first window's last picture is only decoded once the second window is being sampled."""

    def __init__(self):
        super().__init__()
        self.second = threading.Event()
        self.threads = set()

    def __call__(self, frames, *, first_frame, **options):
        if first_frame:
            self.second.set()
        result = super().__call__(frames, first_frame=first_frame, **options)
        return Result(Later(self, result.frames, first_frame), result.state)


class Later:
    def __init__(self, upscaler, pictures, first_frame):
        self.upscaler, self.pictures, self.first_frame = upscaler, pictures, first_frame

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        self.upscaler.threads.add(threading.get_ident())
        if self.first_frame == 0 and index == len(self) - 1:
            assert self.upscaler.second.wait(10), "the next window is not sampled meanwhile"
        return self.pictures[index]


def test_frames_are_decoded_while_the_next_window_is_sampled():
    upscaler = Meeting()
    count, shelf, _ = stream([12], 5, 2, upscaler=upscaler)
    assert (count, shelf.pts) == (12, list(range(12)))
    assert len(upscaler.threads) == 1
    assert threading.get_ident() not in upscaler.threads


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(2, 9), st.integers(0, 4), st.integers(2, 4))
def test_windows_in_lockstep_cover_the_shot_as_single_ones_do(length, window, overlap, lockstep):
    plan = SamplingPlan(window=window, overlap=min(overlap, window - 1), tile=None, lockstep=lockstep)
    stretches = plan_windows(length, plan.stretch, plan.overlap)
    inner = [
        (stretch.start + each.start, stretch.start + each.stop)
        for stretch in stretches
        for each in plan_windows(stretch.stop - stretch.start, plan.window, plan.overlap)
    ]
    assert inner == [(each.start, each.stop) for each in plan_windows(length, plan.window, plan.overlap)]
    assert sum(plan.visits(stretch.stop - stretch.start) for stretch in stretches) == plan.visits(length)
    assert plan.together == {"window": window, "overlap": plan.overlap, "window_batch": lockstep}
