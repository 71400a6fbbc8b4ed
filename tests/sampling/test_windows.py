import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgafvsr.errors import UsageError
from dgafvsr.sampling.windows import batch_windows, plan_windows, stream_windows

lengths = st.integers(1, 12).flatmap(lambda length: st.tuples(st.just(length), st.integers(0, length - 1)))


@given(count=st.integers(1, 60), window=lengths)
def test_every_frame_is_kept_once_and_in_order(count, window):
    plan = plan_windows(count, *window)
    assert [frame for w in plan for frame in range(w.keep_start, w.keep_stop)] == list(range(count))
    assert all(w.start <= w.keep_start < w.keep_stop <= w.stop for w in plan)
    assert all(w.stop - w.start <= window[0] for w in plan)


@given(count=st.integers(1, 60), window=lengths)
def test_neighbouring_windows_share_the_overlap(count, window):
    plan = plan_windows(count, *window)
    assert all(before.stop - after.start == window[1] for before, after in itertools.pairwise(plan))


@given(count=st.integers(1, 60), window=lengths)
def test_stream_gives_the_frames_of_each_window(count, window):
    for planned, frames in stream_windows(iter(range(100, 100 + count)), *window):
        assert frames == list(range(100 + planned.start, 100 + planned.stop))


def test_no_length_is_one_window():
    (window,) = plan_windows(7, None)
    assert (window.start, window.stop, window.kept) == (0, 7, slice(0, 7))


def test_stream_looks_one_frame_ahead_and_no_further():
    taken = []
    stream = stream_windows((taken.append(frame) or frame for frame in range(100)), 4, 1)
    next(stream)
    assert len(taken) == 5


@pytest.mark.parametrize(("length", "overlap"), [(0, 0), (4, 4), (4, -1)])
def test_impossible_windows_are_refused(length, overlap):
    with pytest.raises(UsageError):
        plan_windows(9, length, overlap)


def test_batches_hold_neighbours_of_equal_length():
    plan = plan_windows(23, 5, 1)
    batches = list(batch_windows(plan, 3))
    assert [window for batch in batches for window in batch] == plan
    assert all(len(batch) <= 3 for batch in batches)
    assert all(len({window.stop - window.start for window in batch}) == 1 for batch in batches)
