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


def test_guided_turns_read_the_neighbor_of_the_sweep_before():
    visits = [(v.step, v.frame, v.neighbor, v.visits_back) for v in sweep_order(3, 3, "guided")]
    assert visits == [
        (0, 0, None, 0),
        (0, 1, 0, 1),
        (0, 2, 1, 1),
        (1, 2, 1, 2),
        (1, 1, 2, 1),
        (1, 0, 1, 1),
        (2, 0, 1, 2),
        (2, 1, 0, 1),
        (2, 2, 1, 1),
    ]


def test_last_frame_of_two_is_guided_at_every_visit():
    neighbors = [v.neighbor for v in sweep_order(2, 4, "guided") if v.frame == 1]
    assert neighbors == [0, 0, 0, 0]


@given(frames=st.integers(1, 20), steps=st.integers(1, 9), turns=st.sampled_from(["unguided", "guided"]))
def test_the_neighbor_was_visited_as_many_visits_ago_as_the_order_says(frames, steps, turns):
    visits = list(sweep_order(frames, steps, turns))
    for index, visit in enumerate(visits):
        assert (visit.neighbor is None) == (visit.visits_back == 0)
        if visit.neighbor is not None:
            source = visits[index - visit.visits_back]
            assert source.frame == visit.neighbor
            assert source.step == visit.step - (visit.visits_back - 1)


@given(frames=st.integers(1, 20), steps=st.integers(1, 9))
def test_guided_turns_change_the_first_visit_of_a_sweep_only(frames, steps):
    pairs = zip(sweep_order(frames, steps), sweep_order(frames, steps, "guided"), strict=True)
    changed = [(paper.step, paper.neighbor) for paper, ours in pairs if paper != ours]
    assert changed == ([(step, None) for step in range(1, steps)] if frames > 1 else [])


@given(frames=st.integers(1, 20), steps=st.integers(1, 9))
def test_every_frame_is_visited_once_a_step_and_guided_but_for_the_first(frames, steps):
    visits = list(sweep_order(frames, steps))
    assert sorted((v.step, v.frame) for v in visits) == [(s, f) for s in range(steps) for f in range(frames)]
    assert sum(v.neighbor is None for v in visits) == steps
    assert all(abs(v.frame - v.neighbor) == 1 for v in visits if v.neighbor is not None)
