import pytest
import torch
from tests import factories

from dgafvsr.models.guidance_unet import GuidanceUNet


def test_first_convolution_is_the_denoisers_with_its_latent_channels_again():
    unet = factories.denoiser()
    weight = factories.guidance(unet).conv_in.weight
    assert weight.shape[1] == 11
    assert torch.equal(weight[:, :7], unet.conv_in.weight)
    assert torch.equal(weight[:, 7:], unet.conv_in.weight[:, :4])


def test_resnets_are_copied_and_attention_is_dropped():
    unet = factories.denoiser(attention=True)
    guidance = factories.guidance(unet)
    ours, theirs = guidance.up_blocks[0].resnets[2].conv1.weight, unet.up_blocks[0].resnets[2].conv1.weight
    assert torch.equal(ours, theirs)
    assert ours.data_ptr() != theirs.data_ptr()
    assert not any("attn" in name for name, _ in guidance.named_parameters())
    assert len(guidance.mid_block.resnets) == len(unet.mid_block.resnets) == 2


def test_sd_x4_layout_has_28_residuals_and_277_million_parameters():
    with torch.device("meta"):
        guidance = GuidanceUNet()
    assert (len(guidance.zero_down), len(guidance.zero_up)) == (12, 15)
    assert sum(parameter.numel() for parameter in guidance.parameters()) == pytest.approx(277.05e6, rel=1e-4)


@pytest.mark.parametrize(("height", "width"), [(16, 20), (17, 19)])
def test_untrained_network_is_silent_at_every_stage(height, width):
    guidance = factories.guidance(factories.denoiser(), trained=False)
    residuals = guidance(
        torch.randn(2, 4, height, width), torch.randn(2, 3, height, width), torch.randn(2, 4, height, width), 9
    )
    assert all(not residual.any() for residual in (*residuals.down, residuals.mid, *residuals.up))
    assert residuals.down[0].shape == (2, 8, height, width)
    assert residuals.up[-1].shape == (2, 8, height, width)


def test_class_labels_reach_the_network():
    unet = factories.denoiser(num_class_embeds=10)
    guidance = factories.guidance(unet)
    parts = torch.randn(1, 4, 16, 16), torch.randn(1, 3, 16, 16), torch.randn(1, 4, 16, 16), 9
    first, second = (guidance(*parts, class_labels=torch.tensor([level])).mid for level in (1, 8))
    assert not torch.equal(first, second)


def test_gradient_checkpointing_gives_the_same_gradient():
    gradients = []
    for checkpointing in (False, True):
        guidance = factories.guidance(factories.denoiser()).train()
        if checkpointing:
            guidance.enable_gradient_checkpointing()
        torch.manual_seed(4)
        latents, lr, aligned = torch.randn(1, 4, 16, 16), torch.randn(1, 3, 16, 16), torch.randn(1, 4, 16, 16)
        guidance(latents, lr, aligned, 5).up[-1].square().sum().backward()
        gradients.append(guidance.conv_in.weight.grad)
    assert torch.allclose(*gradients, rtol=1e-5, atol=1e-6)
