import pytest
import torch
from diffusers import UNet2DConditionModel
from tests import factories

from dgafvsr.errors import ModelError
from dgafvsr.models.guided_unet import EncoderResiduals, GuidanceResiduals


def upstream(unet):
    network = UNet2DConditionModel.from_config(dict(unet.config)).eval()
    network.load_state_dict(unet.state_dict())
    return network


def inputs(height, width, attention):
    sample = torch.randn(2, 7, height, width)
    prompt = torch.randn(2, 5, 6) if attention else None
    return sample, torch.tensor([7, 300]), prompt


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize(("height", "width"), [(16, 24), (17, 23), (18, 21)])
@torch.no_grad()
def test_equals_upstream_bit_for_bit_without_residuals(attention, height, width):
    unet = factories.denoiser(attention=attention)
    sample, timestep, prompt = inputs(height, width, attention)
    expected = upstream(unet)(sample, timestep, prompt).sample
    assert torch.equal(unet(sample, timestep, prompt).sample, expected)


@torch.no_grad()
def test_equals_upstream_with_class_labels():
    unet = factories.denoiser(num_class_embeds=10)
    sample, timestep, _ = inputs(16, 20, attention=False)
    labels = torch.tensor([3, 3])
    expected = upstream(unet)(sample, timestep, None, class_labels=labels).sample
    assert torch.equal(unet(sample, timestep, class_labels=labels).sample, expected)


@pytest.mark.parametrize("attention", [False, True])
@torch.no_grad()
def test_encoder_residuals_equal_upstreams_controlnet_arguments(attention):
    unet = factories.denoiser(attention=attention)
    sample, timestep, prompt = inputs(16, 24, attention)
    reference = upstream(unet)
    shapes = factories.guidance(unet)(sample[:, :4], sample[:, 4:], sample[:, :4], 5)
    skips, mid = [torch.randn_like(residual) for residual in shapes.down], torch.randn_like(shapes.mid)
    expected = reference(
        sample, timestep, prompt, down_block_additional_residuals=skips, mid_block_additional_residual=mid
    ).sample
    ours = unet(sample, timestep, prompt, residuals=EncoderResiduals(skips=tuple(skips), mid=mid)).sample
    assert torch.equal(ours, expected)


@torch.no_grad()
def test_zero_residuals_change_nothing():
    unet = factories.denoiser(attention=True)
    sample, timestep, prompt = inputs(17, 22, attention=True)
    residuals = factories.guidance(unet, trained=False)(sample[:, :4], sample[:, 4:], sample[:, :4], timestep)
    assert torch.equal(
        unet(sample, timestep, prompt, residuals=residuals).sample, unet(sample, timestep, prompt).sample
    )


def test_residuals_of_another_network_are_refused():
    unet = factories.denoiser()
    residuals = GuidanceResiduals(down=(torch.zeros(1, 3, 16, 16),), mid=torch.zeros(1), up=())
    with pytest.raises(ModelError, match="does not fit the denoiser"):
        unet(torch.randn(1, 7, 16, 16), 5, residuals=residuals)


def test_gradient_checkpointing_gives_the_same_gradient():
    gradients = []
    for checkpointing in (False, True):
        unet = factories.denoiser().train()
        if checkpointing:
            unet.enable_gradient_checkpointing()
        torch.manual_seed(4)
        unet(torch.randn(1, 7, 16, 16), 5).sample.square().sum().backward()
        gradients.append(unet.conv_in.weight.grad)
    assert torch.allclose(*gradients, rtol=1e-5, atol=1e-6)
