"""Less memory for the paper's VAE and for attention: slices are exact, tiles of diffusers' VAE are not."""

import logging

import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import AttnProcessor2_0, SlicedAttnProcessor
from tests import factories

from dgafvsr.errors import ModelError
from dgafvsr.models.execution import Execution
from dgafvsr.models.latent_codec import LatentCodec


def kl_autoencoder():
    """diffusers' VAE in the shape of SD-x4's: f4, attention in the middle."""
    torch.manual_seed(3)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 12, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=0.25,
    ).eval()


def latents(frames=2, height=22, width=26):
    return torch.randn(frames, 4, height, width, generator=torch.Generator().manual_seed(1)) / 4


LR = torch.zeros(2, 3, 22, 26)


@torch.no_grad()
def test_slices_of_a_batch_give_the_same_frames():
    vae = kl_autoencoder()
    expected = LatentCodec(vae).decode(latents(), LR)
    vae.enable_slicing()
    torch.testing.assert_close(LatentCodec(vae).decode(latents(), LR), expected, rtol=1e-4, atol=2e-5)  # rounding
    one_by_one = [LatentCodec(vae).decode(latents()[i : i + 1], LR[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(torch.cat(one_by_one), expected, rtol=1e-4, atol=2e-5)


@torch.no_grad()
def test_tiles_of_diffusers_vae_are_alike_and_leave_it_as_it_was():
    """Norms and attention of the VAE see a tile instead of the frame, which random weights on noise show the most."""
    vae = kl_autoencoder()
    before = (vae.use_tiling, vae.tile_latent_min_size, vae.tile_sample_min_size)
    expected = LatentCodec(vae).decode(latents(), LR)
    tiled = LatentCodec(vae, tile=16).decode(latents(), LR)
    assert (vae.use_tiling, vae.tile_latent_min_size, vae.tile_sample_min_size) == before
    assert tiled.shape == expected.shape == (2, 3, 88, 104)
    error = (tiled - expected).square().mean() / expected.var()
    assert 0 < error < 0.2  # measured: 0.13
    assert torch.equal(LatentCodec(vae, tile=64).decode(latents(), LR), expected)  # one tile is the frame


@torch.no_grad()
def test_attention_in_slices_is_exact_and_is_left_on():
    unet, sample = factories.denoiser(attention=True), torch.randn(2, 7, 16, 20)
    prompt = torch.randn(1, 5, 6).expand(2, -1, -1)
    Execution().arrange(unet)
    expected = unet(sample, 300, prompt).sample
    unet.set_attention_slice("max")
    Execution().arrange(unet)
    assert {type(each) for each in unet.attn_processors.values()} == {SlicedAttnProcessor}
    torch.testing.assert_close(unet(sample, 300, prompt).sample, expected, rtol=1e-4, atol=2e-5)  # rounding


def test_the_vae_attends_without_a_matrix_of_all_pixels():
    """At 320x180 that matrix alone would be 13 GB; scaled_dot_product_attention does not keep it."""
    vae = kl_autoencoder()
    Execution().arrange(vae)
    assert all(isinstance(each, AttnProcessor2_0) for each in vae.attn_processors.values())


@torch.no_grad()
def test_decoding_with_the_vae_arranged_says_nothing_and_changes_nothing(monkeypatch):
    vae, said = kl_autoencoder(), []
    expected = LatentCodec(vae).decode(latents(), LR)
    monkeypatch.setattr(logging.getLogger("diffusers.models.attention_processor"), "warning", said.append)
    Execution(channels_last=False).arrange(vae)
    assert torch.equal(LatentCodec(vae).decode(latents(), LR), expected)
    assert not said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@torch.no_grad()
def test_values_that_clamping_would_hide_are_an_error(value):
    vae = factories.autoencoder()
    lr = torch.zeros(2, 3, 22, 26)
    lr[1, 2, 3, 4] = value
    with pytest.raises(ModelError, match="not numbers"):
        LatentCodec(vae).decode_pixels(latents(), lr)
    assert LatentCodec(vae).decode_pixels(latents(), 100 * torch.ones(2, 3, 22, 26)).max() == 1


@pytest.mark.parametrize("tile", [None, 8])
@torch.no_grad()
def test_packaged_autoencoder_in_tiles_is_exact(tile):
    vae = factories.autoencoder()
    lr = torch.rand(2, 3, 22, 26, generator=torch.Generator().manual_seed(2))
    expected = LatentCodec(vae).decode(latents(), lr)
    torch.testing.assert_close(LatentCodec(vae, tile).decode(latents(), lr), expected, rtol=1e-5, atol=1e-6)
