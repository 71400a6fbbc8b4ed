from __future__ import annotations

import pytest
import torch

from dgafvsr.errors import UsageError
from dgafvsr.flow.dis import DISFlow
from dgafvsr.sampling.ogwm import warp
from dgafvsr.training.data.clips import ClipLibrary
from dgafvsr.training.data.degradations import reduce_bicubic
from dgafvsr.training.data.motion import MotionRanges
from dgafvsr.training.data.photos import PhotoLibrary
from dgafvsr.training.data.samples import PictureSamples, SequenceSamples, SequenceSettings


def sequences(folder, *, seed: int = 0, **settings) -> SequenceSamples:
    chosen = SequenceSettings(frames=3, side=64, motion=MotionRanges(shift_px=3), **settings)
    return SequenceSamples(
        PhotoLibrary(folder / "photos"), ClipLibrary(folder / "videos"), DISFlow(), chosen, seed=seed
    )


@pytest.mark.parametrize("clip_share", [0.0, 1.0])
def test_sequences_depend_on_seed_and_index_alone(data_folder, clip_share):
    used, fresh = (sequences(data_folder, clip_share=clip_share) for _ in range(2))
    for index in (0, 1, 2):
        used[index]
    first, again = used[7], fresh[7]
    assert all(torch.equal(first[key], again[key]) for key in first)
    other = sequences(data_folder, clip_share=clip_share, seed=1)[7]
    assert not torch.equal(first["hr"], other["hr"])
    assert [tuple(first[key].shape) for key in ("hr", "lr", "flow")] == [(3, 3, 64, 64), (3, 3, 16, 16), (2, 2, 64, 64)]


def test_exact_flow_carries_each_frame_to_the_next(data_folder):
    data = sequences(data_folder, clip_share=0.0, exact_flow_share=1.0)
    for index in range(3):
        sample = data[index]
        carried = warp(sample["hr"][:-1], sample["flow"], "centered")
        error = (carried - sample["hr"][1:])[..., 16:-16, 16:-16].abs().mean()
        assert error < 0.6 * (sample["hr"][:-1] - sample["hr"][1:])[..., 16:-16, 16:-16].abs().mean() + 0.02


def test_pictures_are_pairs_of_hr_and_its_reduction(data_folder):
    data = PictureSamples(PhotoLibrary(data_folder / "photos"), side=40, fault_share=0.0)
    sample = data[3]
    assert sample["hr"].shape == (3, 40, 40)
    expected = reduce_bicubic(sample["hr"][None] / 2 + 0.5) * 2 - 1
    torch.testing.assert_close(sample["lr"][None], expected, atol=1e-5, rtol=0)
    assert torch.equal(sample["lr"], data[3]["lr"])


def test_sides_must_fit_the_factor(data_folder):
    with pytest.raises(UsageError, match="multiple of 4"):
        PictureSamples(PhotoLibrary(data_folder / "photos"), side=42)
    with pytest.raises(UsageError, match="multiple of 4"):
        SequenceSettings(side=2)
