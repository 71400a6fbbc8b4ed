import pytest
import torch
from diffusers.models.upsampling import Upsample2D

from dgafvsr.models.upsampling import can_fuse, double_and_convolve, transposed_kernel


@pytest.mark.parametrize(("height", "width"), [(6, 11), (1, 2), (5, 1)])
@torch.no_grad()
def test_equals_doubling_and_convolving(height, width):
    torch.manual_seed(0)
    upsampler = Upsample2D(3, use_conv=True, out_channels=7)
    hidden = torch.randn(2, 3, height, width)
    assert can_fuse(upsampler)
    # Four products are added before instead of after multiplying: a few roundings of values near 1.
    torch.testing.assert_close(double_and_convolve(upsampler, hidden), upsampler(hidden), rtol=1e-5, atol=1e-6)


def test_kernel_adds_in_float32():
    weight = torch.full((1, 1, 3, 3), 1 / 3, dtype=torch.bfloat16)
    kernel = transposed_kernel(weight)
    assert kernel.dtype == torch.bfloat16
    assert kernel[0, 0, 1, 1] == (4 * weight[0, 0, 0, 0].float()).to(torch.bfloat16)
    assert kernel.sum(dtype=torch.float32) == pytest.approx(4 * weight.sum(dtype=torch.float32).item(), rel=1e-2)


@pytest.mark.parametrize(
    "options",
    [
        {"use_conv": False},
        {"use_conv_transpose": True},
        {"use_conv": True, "norm_type": "rms_norm", "eps": 1e-5, "elementwise_affine": True},
    ],
)
def test_other_upsamplers_are_not_touched(options):
    assert not can_fuse(Upsample2D(4, **options))


def test_other_convolutions_are_not_touched():
    wide = Upsample2D(4, use_conv=True, kernel_size=5, padding=2)
    assert not can_fuse(wide)
    assert can_fuse(Upsample2D(4, use_conv=True, name="Conv2d_0"))


def test_wide_ones_are_left_to_the_plain_convolution(monkeypatch):
    monkeypatch.setattr("dgafvsr.models.upsampling.WIDEST", 3)
    assert can_fuse(Upsample2D(3, use_conv=True))
    assert not can_fuse(Upsample2D(4, use_conv=True))


@torch.no_grad()
def test_kernel_is_kept_until_the_weight_changes(monkeypatch):
    made = []

    def counting(weight):
        made.append(weight)
        return transposed_kernel(weight)

    monkeypatch.setattr("dgafvsr.models.upsampling.transposed_kernel", counting)
    upsampler, hidden = Upsample2D(3, use_conv=True), torch.randn(1, 3, 4, 5)
    with torch.inference_mode():
        double_and_convolve(upsampler, hidden)
    double_and_convolve(upsampler, hidden)
    assert len(made) == 1
    upsampler.conv.weight.mul_(2)
    torch.testing.assert_close(double_and_convolve(upsampler, hidden), upsampler(hidden), rtol=1e-5, atol=1e-6)
    upsampler.to(torch.bfloat16)
    assert double_and_convolve(upsampler, hidden.bfloat16()).dtype == torch.bfloat16
    assert len(made) == 3
    with torch.enable_grad():
        double_and_convolve(upsampler, hidden.bfloat16()).sum().backward()
    assert upsampler.conv.weight.grad is not None
