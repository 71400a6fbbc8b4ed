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


@given(frames=st.integers(1, 20), steps=st.integers(1, 9))
def test_every_frame_is_visited_once_a_step_and_guided_but_for_the_first(frames, steps):
    visits = list(sweep_order(frames, steps))
    assert sorted((v.step, v.frame) for v in visits) == [(s, f) for s in range(steps) for f in range(frames)]
    assert sum(v.neighbor is None for v in visits) == steps
    assert all(abs(v.frame - v.neighbor) == 1 for v in visits if v.neighbor is not None)
