from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from dgafvsr.flow.dis import DISFlow
from dgafvsr.sampling.ogwm import warp
from dgafvsr.training.data.augmentation import Augmentation
from dgafvsr.training.data.clips import ClipLibrary
from dgafvsr.training.data.disk_cache import DiskCache
from dgafvsr.training.data.flow_cache import FlowCache
from dgafvsr.training.data.photos import PhotoLibrary
from dgafvsr.training.data.samples import SequenceSamples, SequenceSettings
from dgafvsr.training.data.sources import ClipSource

STEP = 3


class CountingFlow:
    """DIS that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.estimator = DISFlow()

    def __call__(self, current, neighbor):
        self.calls += 1
        return self.estimator(current, neighbor)


@pytest.fixture
def clips(tmp_path) -> ClipLibrary:
    """Six frames of 130 x 97, which are no multiples of 4, that move left by 3 px a frame."""
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    still = cv2.resize(coarse, (160, 97), interpolation=cv2.INTER_CUBIC)
    (tmp_path / "clip").mkdir()
    for index in range(6):
        cv2.imwrite(str(tmp_path / "clip" / f"{index}.png"), still[:, STEP * index : STEP * index + 130])
    return ClipLibrary([ClipSource(name="clip", path=tmp_path / "clip")])


def test_flow_is_estimated_once_and_fits_every_crop(clips, tmp_path):
    counting = CountingFlow()
    cache = FlowCache(DiskCache(tmp_path / "cache"), counting, name="dis")
    for seed in range(10):
        crop = clips.crop(np.random.default_rng(seed), frames=3, side=64)
        flow, back = cache.flow(clips, crop), cache.flow_backward(clips, crop)
        assert flow.shape == back.shape == (2, 2, 64, 64)
        direction = np.sign(crop.indices[1] - crop.indices[0])
        assert flow[:, 0].median() == pytest.approx(STEP * direction, abs=0.3)
        assert back[:, 0].median() == pytest.approx(-STEP * direction, abs=0.3)
    assert counting.calls == cache.disk.misses <= 10


@pytest.mark.parametrize("reverse", [False, True])
def test_samples_with_kept_flow_are_carried_by_it(clips, tmp_path, reverse):
    settings = SequenceSettings(
        frames=3,
        side=64,
        clip_share=1,
        fault_share=0,
        flow_backward=True,
        augmentation=Augmentation(jitter_share=0.5, reverse=reverse),
    )
    cache = FlowCache(DiskCache(tmp_path / "cache"), DISFlow(), name="dis")
    samples = SequenceSamples(PhotoLibrary([]), clips, DISFlow(), settings, flow_cache=cache)
    for index in range(6):
        sample = samples[index]
        for flow, here, there in (
            (sample["flow"], sample["hr"][1:], sample["hr"][:-1]),
            (sample["flow_backward"], sample["hr"][:-1], sample["hr"][1:]),
        ):
            inside = (..., slice(12, -12), slice(12, -12))
            error = (warp(there, flow, "centered") - here)[inside].abs().mean()
            assert error < 0.3 * (there - here)[inside].abs().mean()


def test_degraded_sequences_get_the_flow_of_what_is_seen(clips, tmp_path):
    counting = CountingFlow()
    cache = FlowCache(DiskCache(tmp_path / "cache"), DISFlow(), name="dis")
    settings = SequenceSettings(frames=2, side=64, clip_share=1, fault_share=1)
    SequenceSamples(PhotoLibrary([]), clips, counting, settings, flow_cache=cache)[0]
    assert (counting.calls, cache.disk.misses) == (1, 0)


def test_another_estimator_or_a_changed_frame_misses(clips, tmp_path):
    disk = DiskCache(tmp_path / "cache")
    crop = clips.crop(np.random.default_rng(0), frames=2, side=64)
    FlowCache(disk, DISFlow(), name="dis").flow(clips, crop)
    FlowCache(disk, DISFlow("fast"), name="dis_fast").flow(clips, crop)
    assert disk.misses == 2
    changed = clips.sources[0].path / f"{crop.indices[0]}.png"
    cv2.imwrite(str(changed), np.zeros((97, 130, 3), dtype=np.uint8))
    fresh = ClipLibrary(clips.sources)
    FlowCache(disk, DISFlow(), name="dis").flow(fresh, fresh.crop(np.random.default_rng(0), frames=2, side=64))
    assert disk.misses == 3


def test_kept_flow_has_half_precision_only_on_disk(clips, tmp_path):
    cache = FlowCache(DiskCache(tmp_path / "cache"), DISFlow(), name="dis")
    crop = clips.crop(np.random.default_rng(1), frames=2, side=64)
    first, again = cache.flow(clips, crop), cache.flow(clips, crop)
    assert first.dtype == torch.float32
    assert torch.equal(first, again)
