import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from dgafvsr.errors import InputError
from dgafvsr.sampling.seams import check_state, cross_fade, hold_back

H, W = 5, 7


def latents(frames, value):
    return torch.full((frames, 4, H, W), float(value))


def test_head_fades_from_the_window_before_to_this_one():
    mixed = cross_fade(latents(6, 1), hold_back(latents(9, 0), 4))[:, 0, 0, 0]
    steps = torch.cat([torch.zeros(1), mixed]).diff()
    assert (mixed[:4] > 0).all()
    assert torch.equal(mixed[4:], torch.ones(2))
    assert (steps >= 0).all()
    assert torch.allclose(mixed[:4] + mixed[:4].flip(0), torch.ones(4))  # neither window is preferred


@settings(deadline=None)
@given(tail=st.integers(1, 8))
def test_windows_that_agree_are_left_alone_to_the_last_bit(tail):
    same = torch.randn(8, 4, H, W, generator=torch.Generator().manual_seed(tail))
    assert torch.equal(cross_fade(same[8 - tail :], hold_back(same, tail)), same[8 - tail :])


def test_state_survives_a_file_bit_for_bit():
    state = hold_back(torch.randn(6, 4, H, W), 3)
    again = load(save(state))
    assert state.keys() == again.keys()
    assert all(torch.equal(state[name], again[name]) for name in state)
    assert len(state["latents"]) == 3


def test_state_does_not_share_memory_with_the_window():
    window = latents(5, 0)
    state = hold_back(window, 2)
    window += 1
    assert state["latents"].abs().max() == 0


def test_nothing_held_back_is_no_state_and_changes_nothing():
    window = latents(5, 2)
    assert hold_back(window, 0) is None
    assert cross_fade(window, None) is window
    assert check_state(None, torch.zeros(5, 3, H, W)) == 0


@pytest.mark.parametrize("state", [{}, {"latents": torch.zeros(2, 4, H, W + 1)}, {"latents": torch.zeros(6, 4, H, W)}])
def test_states_that_do_not_fit_are_refused(state):
    with pytest.raises(InputError, match="does not fit the frames"):
        check_state(state, torch.zeros(5, 3, H, W))


def test_state_says_how_many_frames_it_holds():
    assert check_state(hold_back(latents(5, 0), 3), torch.zeros(3, 3, H, W)) == 3
