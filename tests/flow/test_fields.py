import pytest
import torch

from dgafvsr.errors import InputError
from dgafvsr.flow.fields import backward_warp, consistency_mask, resize_flow


def constant(dx, dy, batch=2, height=6, width=10):
    return torch.tensor([dx, dy], dtype=torch.float32).view(1, 2, 1, 1).expand(batch, 2, height, width)


@pytest.mark.parametrize("outside", ["zeros", "border"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (6, 10), (37, 251)])
def test_zero_flow_is_identity(outside, height, width):
    image = torch.rand(2, 3, height, width)
    warped = backward_warp(image, torch.zeros(2, 2, height, width), outside=outside)
    torch.testing.assert_close(warped, image, atol=5e-5, rtol=0)  # grid_sample's float32 coordinates


def test_whole_pixel_flow_reads_where_it_points():
    image = torch.rand(2, 3, 6, 10)
    warped = backward_warp(image, constant(2, -1))
    torch.testing.assert_close(warped[..., 1:, :-2], image[..., :-1, 2:], atol=1e-5, rtol=0)
    assert warped[..., 0, :].abs().max() < 1e-5
    border = backward_warp(image, constant(2, -1), outside="border")
    torch.testing.assert_close(border[..., 1:, -1], image[..., :-1, -1], atol=1e-5, rtol=0)


def test_half_pixel_flow_averages_two_pixels():
    image = torch.rand(2, 3, 6, 10)
    warped = backward_warp(image, constant(0.5, 0))
    torch.testing.assert_close(warped[..., :-1], (image[..., :-1] + image[..., 1:]) / 2, atol=1e-5, rtol=0)


def test_resized_flow_scales_with_its_grid():
    resized = resize_flow(constant(1, 2), height=3, width=40)
    assert resized.shape == (2, 2, 3, 40)
    torch.testing.assert_close(resized, constant(4, 1, height=3, width=40))


def test_linear_field_survives_doubling_away_from_the_border():
    x = torch.arange(10.0).expand(1, 2, 6, 10)
    resized = resize_flow(x, height=12, width=20)
    expected = ((torch.arange(20.0) + 0.5) / 2 - 0.5) * 2
    torch.testing.assert_close(resized[0, 0, 4, 1:-1], expected[1:-1])


def test_opposite_flows_are_consistent_where_the_target_is_inside():
    mask = consistency_mask(constant(2, 1), constant(-2, -1))
    assert mask.shape == (2, 1, 6, 10)
    assert mask[:, :, :-1, :-2].all()
    assert not mask[:, :, -1].any()
    assert not mask[..., -2:].any()


def test_contradicting_flows_are_inconsistent():
    assert not consistency_mask(constant(1, 0), constant(1, 0)).any()


def test_shapes_are_checked():
    with pytest.raises(InputError):
        backward_warp(torch.zeros(1, 3, 6, 10), torch.zeros(1, 2, 10, 6))
    with pytest.raises(InputError):
        resize_flow(torch.zeros(1, 3, 6, 10), height=2, width=2)
