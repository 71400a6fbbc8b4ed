from __future__ import annotations

import torch
from torch.nn import functional as F

from dgafvsr.training.draws import Draws
from dgafvsr.training.perceptual import grid_loss, lattice_loss, period_loss, random_windows, statistics_loss


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


def test_statistics_loss_asks_for_as_much_texture_wherever_it_lies():
    generator = torch.Generator().manual_seed(3)
    texture = torch.randn(2, 5, 24, 20, generator=generator)
    truth, elsewhere, soft = [F.relu(texture)], [F.relu(texture.roll((5, 7), (2, 3)))], [F.relu(0.3 * texture)]
    assert statistics_loss(truth, truth) == 0
    assert statistics_loss(elsewhere, truth) < 0.55, "only its place is missed"
    mean, spread = 0.3 / (1 + 0.3**2), 0.3 / (1 + 0.3**2)
    torch.testing.assert_close(statistics_loss(soft, truth), torch.tensor(1 - mean - spread), atol=1e-4, rtol=0)
    both = statistics_loss([*soft, *truth], [*truth, *truth])
    torch.testing.assert_close(both, statistics_loss(soft, truth) / 2)


def test_statistics_loss_tells_colour_apart_and_learns_from_flat_maps():
    flat, other = torch.full((1, 2, 8, 8), 0.5, requires_grad=True), torch.full((1, 2, 8, 8), 1.0)
    loss = statistics_loss([flat], [other])
    torch.testing.assert_close(loss, torch.tensor((1 - 2 * 0.5 / 1.25) / 2), atol=1e-5, rtol=0)
    loss.backward()
    assert flat.grad.isfinite().all()
    assert (flat.grad < 0).all()


def test_period_loss_sees_dots_in_the_cells_and_not_texture():
    generator = torch.Generator().manual_seed(5)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(1, 1, *shape, generator=generator)

    natural = F.interpolate(noise(40, 40), (160, 160), mode="bicubic").expand(-1, 3, -1, -1)
    fine, other = noise(160, 160), noise(160, 160)
    dots = torch.zeros(1, 1, 160, 160)
    dots[..., 1::4, 2::4] = noise(40, 40).abs() * (noise(40, 40) > 0)  # of changing strength, in every second cell
    assert period_loss(natural, natural) == 0
    assert period_loss(natural + 0.1 * fine, natural + 0.1 * other) < 0.01
    assert period_loss(natural + dots, natural + 0.1 * fine) > 0.03
    assert period_loss(natural + dots, natural + dots) == 0, "a fence in the truth may be a fence"


def test_period_loss_is_the_same_for_rows_and_columns_and_can_be_learned_from():
    generator = torch.Generator().manual_seed(6)
    made, truth = torch.rand(2, 2, 3, 80, 80, generator=generator)
    made[..., ::4] += 0.5
    made.requires_grad_()
    loss = period_loss(made, truth)
    torch.testing.assert_close(loss, period_loss(made.mT, truth.mT))
    loss.backward()
    assert loss > 0.01
    assert period_loss(made.detach() - 10 * made.grad, truth) < loss
    flat = torch.zeros(1, 3, 32, 8, requires_grad=True)
    period_loss(flat, flat.detach()).backward()
    assert flat.grad.isfinite().all()
