from __future__ import annotations

import numpy as np
import pytest
import torch

from dgafvsr.errors import UsageError
from dgafvsr.evaluation import degradations as evaluation
from dgafvsr.training.data.degradations import Fault, draw_fault, to_lr


def frames(t: int = 3, h: int = 24, w: int = 40) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (t, h, w, 3), dtype=np.uint8)


def test_the_reduction_is_the_benchmark_s():
    clean = to_lr(frames(), Fault(), np.random.default_rng(0))
    hr = torch.from_numpy(frames()).permute(0, 3, 1, 2) / 255
    assert torch.equal(clean, evaluation.reduce_bicubic(hr))


@pytest.mark.parametrize("codec", [False, True])
def test_realistic_degradation_belongs_to_its_seed(codec):
    first, again, other = (
        to_lr(frames(h=32), Fault(kind="realistic", codec=codec, seed=seed), np.random.default_rng(0))
        for seed in (1, 1, 2)
    )
    assert first.shape == (3, 3, 8, 10)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.testing.assert_close(first * 255, (first * 255).round())


def test_the_codec_changes_realistic_frames():
    with_codec, without = (
        to_lr(frames(h=32), Fault(kind="realistic", codec=codec, seed=1), np.random.default_rng(0))
        for codec in (True, False)
    )
    assert not torch.equal(with_codec, without)


@pytest.mark.parametrize(
    "fault",
    [Fault(kind="blur", strength=1.2), Fault(kind="noise", strength=4.0), Fault(kind="jpeg", strength=70.0)],
)
def test_faults_are_mild_and_repeatable(fault):
    first, again = (to_lr(frames(), fault, np.random.default_rng(0)) for _ in range(2))
    clean = to_lr(frames(), Fault(), np.random.default_rng(0))
    assert first.shape == (3, 3, 6, 10)
    assert torch.equal(first, again)
    assert 0 < (first - clean).abs().mean() < 0.12


def test_noise_differs_between_frames():
    still = np.repeat(frames(1), 2, axis=0)
    lr = to_lr(still, Fault(kind="noise", strength=5.0), np.random.default_rng(0))
    assert not torch.equal(lr[0], lr[1])


def test_share_of_faults_is_kept():
    rng = np.random.default_rng(0)
    faults = [draw_fault(rng, share=0.3).kind != "none" for _ in range(1000)]
    assert 0.25 < np.mean(faults) < 0.35
    assert draw_fault(rng, share=0.0) == Fault()
    drawn = [draw_fault(rng, share=0.3, realistic_share=0.2) for _ in range(1000)]
    assert 0.15 < np.mean([fault.kind == "realistic" for fault in drawn]) < 0.25
    assert 0.25 < np.mean([fault.kind not in ("none", "realistic") for fault in drawn]) < 0.35
    assert 0.2 < np.mean([fault.codec for fault in drawn if fault.kind == "realistic"]) < 0.4
    with pytest.raises(UsageError, match="share"):
        draw_fault(rng, share=1.5)
    with pytest.raises(UsageError, match="share"):
        draw_fault(rng, share=0.6, realistic_share=0.6)
