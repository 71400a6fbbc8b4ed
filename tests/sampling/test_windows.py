import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgafvsr.errors import UsageError
from dgafvsr.sampling.windows import batch_windows, count_visits, plan_windows, stream_windows

lengths = st.integers(1, 12).flatmap(lambda length: st.tuples(st.just(length), st.integers(0, length - 1)))


@settings(deadline=None)
@given(count=st.integers(1, 60), window=lengths)
def test_every_frame_is_given_out_once_and_in_order(count, window):
    plan = plan_windows(count, *window)
    assert [frame for w in plan for frame in range(w.start, w.start + w.emitted)] == list(range(count))
    assert all(0 < w.stop - w.start <= window[0] for w in plan)


@settings(deadline=None)
@given(count=st.integers(1, 60), window=lengths)
def test_what_one_window_holds_back_the_next_begins_with(count, window):
    plan = plan_windows(count, *window)
    for before, after in itertools.pairwise(plan):
        assert before.stop - after.start == before.tail == after.head == window[1]
        assert after.stop > before.stop
    assert plan[0].head == plan[-1].tail == 0


@settings(deadline=None)
@given(count=st.integers(1, 60), window=lengths, data=st.data())
def test_parts_of_a_shot_join_without_gap(count, window, data):
    """A call may itself be cut into windows: its head belongs to the first of them, its tail to the last."""
    whole = plan_windows(count, *window)
    ends = data.draw(st.tuples(st.integers(0, whole[0].stop), st.integers(0, whole[-1].stop - whole[-1].start - 1)))
    plan = plan_windows(count, *window, head=ends[0], tail=ends[1])
    assert (plan[0].head, plan[-1].tail) == ends
    assert sum(w.emitted for w in plan) == count - ends[1]
    assert [(w.start, w.stop) for w in plan] == [(w.start, w.stop) for w in whole]


@settings(deadline=None)
@given(count=st.integers(1, 60), window=lengths)
def test_stream_gives_the_frames_of_each_window(count, window):
    for planned, frames in stream_windows(iter(range(100, 100 + count)), *window):
        assert frames == list(range(100 + planned.start, 100 + planned.stop))


def test_no_length_is_one_window():
    (window,) = plan_windows(7, None)
    assert (window.start, window.stop, window.emitted) == (0, 7, 7)


def test_stream_looks_one_frame_ahead_and_no_further():
    taken = []
    stream = stream_windows((taken.append(frame) or frame for frame in range(100)), 4, 1)
    next(stream)
    assert len(taken) == 5


@pytest.mark.parametrize(("length", "overlap"), [(0, 0), (4, 4), (4, -1)])
def test_impossible_windows_are_refused(length, overlap):
    with pytest.raises(UsageError):
        plan_windows(9, length, overlap)


@pytest.mark.parametrize("ends", [{"head": 4}, {"head": -1}, {"tail": 3}, {"tail": -1}])
def test_ends_that_do_not_fit_their_windows_are_refused(ends):
    with pytest.raises(UsageError, match="does not fit the frames"):
        plan_windows(9, 3, 0, **ends)


def test_batches_hold_neighbours_of_equal_length():
    plan = plan_windows(23, 5, 1)
    batches = list(batch_windows(plan, 3))
    assert [window for batch in batches for window in batch] == plan
    assert all(len(batch) <= 3 for batch in batches)
    assert all(len({window.stop - window.start for window in batch}) == 1 for batch in batches)


@settings(deadline=None)
@given(count=st.integers(1, 60), window=lengths)
def test_visits_are_counted_without_planning(count, window):
    length, overlap = window
    planned = sum(each.stop - each.start for each in plan_windows(count, length, overlap))
    assert count_visits(count, length, overlap) == planned
