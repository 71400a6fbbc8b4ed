from __future__ import annotations

import torch

from dgafvsr.training.perceptual import grid_loss, random_window


def test_grid_loss_sees_a_repeated_pattern_and_not_detail():
    target = torch.rand(2, 3, 64, 96) * 2 - 1
    pattern = 0.1 * torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0)).repeat(1, 16, 24)
    detail = 0.1 * torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    assert grid_loss(target, target) == 0
    torch.testing.assert_close(grid_loss(target + pattern, target), pattern.abs().mean())
    assert grid_loss(target + detail, target) < 0.2 * grid_loss(target + pattern, target)


def test_windows_are_the_same_in_every_picture():
    picture = torch.arange(2 * 3 * 20 * 30.0).view(2, 3, 20, 30)
    first, second = random_window(picture, picture + 1, side=8, generator=torch.Generator().manual_seed(0))
    assert first.shape == (2, 3, 8, 8)
    assert torch.equal(first + 1, second)
    whole = random_window(picture, side=20, generator=torch.Generator())
    assert whole[0] is picture
