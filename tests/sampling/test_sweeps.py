from hypothesis import given
from hypothesis import strategies as st

from dgafvsr.sampling.sweeps import sweep_order


def test_two_steps_of_three_frames():
    visits = [(v.step, v.frame, v.neighbor, v.direction) for v in sweep_order(3, 2)]
    assert visits == [
        (0, 0, None, "forward"),
        (0, 1, 0, "forward"),
        (0, 2, 1, "forward"),
        (1, 2, None, "backward"),
        (1, 1, 2, "backward"),
        (1, 0, 1, "backward"),
    ]


def test_guided_turns_read_a_preview_of_the_frame_that_comes_next():
    visits = [(v.step, v.frame, v.neighbor, v.preview) for v in sweep_order(3, 2, "guided")]
    assert visits == [
        (0, 0, 1, True),
        (0, 1, 0, False),
        (0, 2, 1, False),
        (1, 2, 1, True),
        (1, 1, 2, False),
        (1, 0, 1, False),
    ]


def test_a_frame_alone_has_nothing_to_be_guided_by():
    assert [(v.neighbor, v.preview) for v in sweep_order(1, 2, "guided")] == [(None, False)] * 2


@given(frames=st.integers(2, 20), steps=st.integers(1, 9))
def test_guided_turns_change_the_first_visit_of_a_sweep_only(frames, steps):
    pairs = zip(sweep_order(frames, steps), sweep_order(frames, steps, "guided"), strict=True)
    changed = [(paper.step, paper.neighbor, ours.preview) for paper, ours in pairs if paper != ours]
    assert changed == [(step, None, True) for step in range(steps)]


@given(frames=st.integers(1, 20), steps=st.integers(1, 9))
def test_every_frame_is_visited_once_a_step_and_guided_but_for_the_first(frames, steps):
    visits = list(sweep_order(frames, steps))
    assert sorted((v.step, v.frame) for v in visits) == [(s, f) for s in range(steps) for f in range(frames)]
    assert sum(v.neighbor is None for v in visits) == steps
    assert all(abs(v.frame - v.neighbor) == 1 for v in visits if v.neighbor is not None)
