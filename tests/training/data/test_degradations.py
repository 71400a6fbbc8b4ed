from __future__ import annotations

import numpy as np
import pytest
import torch

from dgafvsr.errors import UsageError
from dgafvsr.training.data.degradations import Fault, draw_fault, reduce_bicubic, to_lr


def frames(t: int = 3, h: int = 24, w: int = 40) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (t, h, w, 3), dtype=np.uint8)


def test_reduction_keeps_flat_pictures_and_lies_on_8_bit_levels():
    hr = torch.full((2, 3, 8, 12), 100 / 255)
    assert torch.equal(reduce_bicubic(hr), torch.full((2, 3, 2, 3), 100 / 255))
    levels = reduce_bicubic(torch.rand(1, 3, 16, 20)) * 255
    torch.testing.assert_close(levels, levels.round())


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
    with pytest.raises(UsageError, match="share"):
        draw_fault(rng, share=1.5)
