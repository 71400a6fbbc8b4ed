from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from dgafvsr.errors import UsageError
from dgafvsr.sampling.ogwm import warp
from dgafvsr.training.data.motion import MotionRanges, draw_motion, draw_silhouette, move

SIDE = 64


def texture(side: int = 140, seed: int = 0) -> np.ndarray:
    """A band-limited texture, which interpolation can follow: side side 3 uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (side // 10, side // 10, 3), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def shift(dx: float, dy: float) -> np.ndarray:
    return np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1]], dtype=np.float64)


def carried_back(sequence, k: int) -> torch.Tensor:
    """Frame k warped onto frame k + 1 by the exact flow: 3 S S in 0 to 255."""
    neighbor = torch.from_numpy(sequence.frames[k]).permute(2, 0, 1)[None].float()
    return warp(neighbor, torch.from_numpy(sequence.flow_to_previous[k])[None], "centered")[0]


def test_flow_direction_of_a_plain_shift():
    # The content moves 3 px right and 2 px up per frame, so a pixel was 3 px further left and 2 px further down.
    sequence = move(texture(), shift(3, -2), frames=2, side=SIDE)
    assert np.allclose(sequence.flow_to_previous[0][0], -3)
    assert np.allclose(sequence.flow_to_previous[0][1], 2)
    assert np.array_equal(sequence.frames[1][:-2, 3:], sequence.frames[0][2:, :-3])


@pytest.mark.parametrize("seed", range(4))
def test_neighbour_warped_by_the_flow_is_the_centre(seed):
    rng = np.random.default_rng(seed)
    motion = draw_motion(rng, MotionRanges(still_share=0.0, rotation_degrees=4, zoom=0.05), SIDE)
    sequence = move(texture(), motion, frames=3, side=SIDE)
    inside = slice(24, -24)
    for k in range(2):
        centre = torch.from_numpy(sequence.frames[k + 1]).permute(2, 0, 1).float()
        error = (carried_back(sequence, k) - centre)[:, inside, inside].abs()
        # Bilinear reading of a texture with a 10 px grid and rounding to 8 bits.
        assert error.mean() < 1.5


@pytest.mark.parametrize("seed", range(3))
def test_the_flow_to_the_next_frame_is_exact_too(seed):
    rng = np.random.default_rng(seed)
    motion = draw_motion(rng, MotionRanges(still_share=0.0, rotation_degrees=4, zoom=0.05), SIDE)
    sequence = move(texture(), motion, frames=3, side=SIDE)
    following = torch.from_numpy(sequence.frames[1:]).permute(0, 3, 1, 2).float()
    here = torch.from_numpy(sequence.frames[:-1]).permute(0, 3, 1, 2).float()
    carried = warp(following, torch.from_numpy(sequence.flow_to_next), "centered")
    assert (carried - here)[..., 24:-24, 24:-24].abs().mean() < 1.5


def test_objects_have_their_own_flow():
    silhouette = np.zeros((SIDE, SIDE), dtype=np.float32)
    silhouette[20:44, 20:44] = 1
    sequence = move(texture(), shift(-4, 0), frames=2, side=SIDE, foreground=(texture(seed=1), silhouette, shift(0, 5)))
    flow = sequence.flow_to_previous[0]
    assert np.allclose(flow[:, 32, 32], [0, -5])
    assert np.allclose(flow[:, 5, 5], [4, 0])
    error = (carried_back(sequence, 0) - torch.from_numpy(sequence.frames[1]).permute(2, 0, 1)).abs()
    assert error[:, 26:38, 26:38].mean() < 1.0
    assert error[:, 4:14, 4:50].mean() < 1.0


def test_the_last_frame_is_a_copy_of_the_photograph():
    photo = texture()
    sequence = move(photo, draw_motion(np.random.default_rng(0), MotionRanges(), SIDE), frames=3, side=SIDE)
    corner = (140 - SIDE) // 2
    assert np.array_equal(sequence.frames[-1], photo[corner : corner + SIDE, corner : corner + SIDE])


def test_still_layers_do_not_move():
    motion = draw_motion(np.random.default_rng(0), MotionRanges(still_share=1.0), SIDE)
    sequence = move(texture(), motion, frames=2, side=SIDE)
    assert not sequence.flow_to_previous.any()
    assert np.array_equal(sequence.frames[0], sequence.frames[1])


def test_silhouettes_cover_a_part():
    covered = [draw_silhouette(np.random.default_rng(seed), SIDE).mean() for seed in range(20)]
    assert 0.01 < min(covered) < max(covered) < 0.7


def test_one_frame_is_no_sequence():
    with pytest.raises(UsageError, match="too short"):
        move(texture(), np.eye(3), frames=1, side=SIDE)
    with pytest.raises(UsageError, match="zoom"):
        MotionRanges(zoom=-1)
