"""What workers are told, without workers: every window is done at once, as it is asked for."""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("ray", reason="needs the extra `batch`")

from dgafvsr.jobs.cluster_pool import Told
from dgafvsr.jobs.cluster_stream import ClusterStream
from dgafvsr.jobs.fallback import Reduction
from dgafvsr.jobs.manifest import WindowRecord
from dgafvsr.jobs.progress import Meter, UpscaleProgress
from dgafvsr.jobs.sampling_plan import SamplingPlan
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.video.shots import ShotStream


def record(start, reduction):
    return WindowRecord(
        start=start,
        shot_start=0,
        sampled=3,
        head=0,
        begun_from_sha256=None,
        frames=3,
        state_sha256=None,
        reduction=asdict(reduction),
    )


class Shelf:
    """A job folder whose first window is lost."""

    def __init__(self, first):
        self.first = first

    def kept(self, start, **facts):
        return None

    def lost(self, start):
        return self.first if start == 0 else None

    def place_for(self, start):
        return Path(str(start))

    state_path = place_for

    def finish(self, record, state):
        self.first = None


class Pool:
    """Samples with what it is told."""

    def __init__(self):
        self.reductions = []

    def submit(self, order):
        self.reductions.append(order.task.reduction)
        order.listener(Told(order=order, record=record(order.task.start, order.task.reduction)))


def test_window_that_is_made_again_has_its_own_memory_and_the_next_ones_what_is_in_force():
    before, now = Reduction(), Reduction(window=2)
    pool = Pool()
    begin = UpscaleProgress(frames_done=0, frames_total=9, work_done=0, work_total=None)
    meter = Meter(begin, None)
    meter.planned(steps=1, window=3, overlap=0)
    stream = ClusterStream(
        pool,
        ("model", None),
        SimpleNamespace(default_steps=1, reduction=now),
        Shelf(record(0, before)),
        SimpleNamespace(info=SimpleNamespace(path=Path("film"))),
        UpscaleSettings(),
        plan=SamplingPlan(window=3, overlap=0, tile=None),
        meter=meter,
        wants_stop=bool,
        first_frame=0,
    )
    assert stream.run([ShotStream(start=0, frames=iter(range(9)))]) == 9
    assert pool.reductions == [before, now, now]
