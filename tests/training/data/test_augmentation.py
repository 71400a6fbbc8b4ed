from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.training.data.test_motion import SIDE, texture

from dgafvsr.errors import UsageError
from dgafvsr.sampling.ogwm import warp
from dgafvsr.training.data.augmentation import Augmentation, Pose, draw_pose, jitter_colors
from dgafvsr.training.data.motion import MotionRanges, draw_motion, move

POSES = [Pose(flipped, turns) for flipped in (False, True) for turns in range(4)]


def error(frames: np.ndarray, flow: torch.Tensor) -> float:
    """Mean error in 8-bit levels of each frame carried to the next, away from the border."""
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    return float((warp(pictures[:-1], flow, "centered") - pictures[1:])[..., 20:-20, 20:-20].abs().mean())


@pytest.fixture(scope="module")
def sequence():
    rng = np.random.default_rng(3)
    motion = draw_motion(rng, MotionRanges(still_share=0, shift_px=12, rotation_degrees=5, zoom=0.05), SIDE)
    motion[:2, 2] += (4, -2)  # never nearly still
    return move(texture(), motion, frames=3, side=SIDE)


@pytest.mark.parametrize("pose", POSES, ids=str)
def test_flow_stays_exact_under_flips_and_turns(sequence, pose):
    frames, flow = pose.frames(sequence.frames), pose.flow(torch.from_numpy(sequence.flow_to_previous))
    assert error(frames, flow) < 1.5
    if pose != Pose():  # the flow as it was does not fit
        assert error(frames, torch.from_numpy(sequence.flow_to_previous)) > 5


@pytest.mark.parametrize("pose", [Pose(), Pose(True, 1)], ids=str)
def test_flow_stays_exact_under_time_reversal(sequence, pose):
    frames, flow = sequence.frames[::-1].copy(), torch.from_numpy(sequence.flow_to_next).flip(0)
    assert error(pose.frames(frames), pose.flow(flow)) < 1.5


def test_flow_stays_exact_under_colour_jitter(sequence):
    augmentation = Augmentation(jitter_share=1.0)
    for seed in range(4):
        colored = jitter_colors(sequence.frames, np.random.default_rng(seed), augmentation)
        assert error(colored, torch.from_numpy(sequence.flow_to_previous)) < 2.0


@pytest.mark.parametrize("pose", POSES, ids=str)
def test_maps_move_with_the_frames(pose):
    frames = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3), dtype=np.uint8)
    posed = pose.maps(torch.from_numpy(frames).permute(0, 3, 1, 2))
    assert np.array_equal(pose.frames(frames), posed.permute(0, 2, 3, 1).numpy())


def test_poses_are_all_drawn_and_may_be_forbidden():
    rng = np.random.default_rng(0)
    assert {draw_pose(rng, Augmentation()) for _ in range(200)} == set(POSES)
    assert {draw_pose(rng, Augmentation(flips=False, turns=False)) for _ in range(20)} == {Pose()}


def test_jitter_is_mild_and_the_same_for_all_frames():
    frames = np.repeat(texture()[None], 2, axis=0)
    changes = []
    for seed in range(20):
        colored = jitter_colors(frames, np.random.default_rng(seed), Augmentation(jitter_share=0.5))
        assert colored.shape == frames.shape
        assert np.array_equal(colored[0], colored[1])
        changes.append(np.abs(colored.astype(float) - frames).mean())
    assert 0 < np.mean([change > 0 for change in changes]) < 1
    assert max(changes) < 40


def test_no_jitter_leaves_the_frames_alone():
    frames = texture()[None]
    assert jitter_colors(frames, np.random.default_rng(0), Augmentation()) is frames


@pytest.mark.parametrize("wrong", [{"jitter_share": 1.5}, {"jitter_strength": 1.0}, {"max_stride": 0}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Augmentation(**wrong)
