from __future__ import annotations

import torch

from dgafvsr.training.draws import Draws
from dgafvsr.training.perceptual import grid_loss, lattice_loss, random_windows


def test_grid_loss_sees_a_repeated_pattern_and_not_detail():
    target = torch.rand(2, 3, 64, 96) * 2 - 1
    pattern = 0.1 * torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0)).repeat(1, 16, 24)
    detail = 0.1 * torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    assert grid_loss(target, target) == 0
    torch.testing.assert_close(grid_loss(target + pattern, target), pattern.abs().mean())
    assert grid_loss(target + detail, target) < 0.2 * grid_loss(target + pattern, target)


def test_lattice_loss_sees_edges_on_the_borders_of_cells_and_not_texture():
    generator = torch.Generator().manual_seed(2)
    texture = 0.3 * torch.randn(1, 3, 128, 128, generator=generator)
    cells = 0.3 * torch.randn(1, 3, 32, 32, generator=generator).repeat_interleave(4, 2).repeat_interleave(4, 3)
    natural = torch.nn.functional.interpolate(
        0.1 * torch.randn(1, 3, 30, 30, generator=generator), (128, 128), mode="bicubic"
    )
    assert lattice_loss(natural, natural) == 0
    assert lattice_loss(natural + texture, natural + texture.flip(-1)) < 0.03
    assert lattice_loss(natural + cells, natural + texture) > 0.3
    assert grid_loss(natural + cells, natural) < 0.1, "cells of changing sign are what the other loss does not see"


def test_windows_are_the_same_in_every_picture_and_belong_to_the_sample():
    picture = torch.arange(2 * 3 * 20 * 30.0).view(2, 3, 20, 30)
    first, second = random_windows(picture, picture + 1, side=8, draws=Draws(0, [4, 5]))
    assert first.shape == (2, 3, 8, 8)
    assert torch.equal(first + 1, second)
    (alone,) = random_windows(picture[1:], side=8, draws=Draws(0, [5]))
    assert torch.equal(alone, first[1:])
    whole = random_windows(picture, side=20, draws=Draws(0, [4, 5]))
    assert whole[0] is picture
