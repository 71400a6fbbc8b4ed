import torch
from tests import factories

from dgafvsr.models.autoencoder import ResidualAutoencoder, upsample_lr


def pair(height=9, width=13):
    return torch.rand(2, 3, 4 * height, 4 * width) * 2 - 1, torch.rand(2, 3, height, width) * 2 - 1


@torch.no_grad()
def test_latent_has_the_lr_frames_size():
    hr, lr = pair()
    assert factories.autoencoder().encode(hr, lr).shape == (2, 4, 9, 13)


@torch.no_grad()
def test_normalisation_of_latents_cancels_in_the_reconstruction():
    network = factories.autoencoder()
    plain = ResidualAutoencoder.from_config({**network.config, "latents_mean": None, "latents_std": None}).eval()
    plain.load_state_dict(network.state_dict())
    hr, lr = pair()
    assert torch.allclose(network(hr, lr), plain(hr, lr), atol=1e-5)
    assert not torch.allclose(network.encode(hr, lr), plain.encode(hr, lr), atol=1e-2)


@torch.no_grad()
def test_a_silent_decoder_gives_bicubic():
    network = factories.autoencoder()
    for parameter in network.detail.parameters():
        parameter.zero_()
    _, lr = pair()
    assert torch.equal(network.decode(torch.randn(2, 4, 9, 13), lr), upsample_lr(lr))


@torch.no_grad()
def test_tiles_give_the_same_frame():
    network = factories.autoencoder()
    latents, lr = torch.randn(1, 4, 37, 41), torch.rand(1, 3, 37, 41)
    whole = network.decode(latents, lr)
    network.enable_tiling(tile=10)
    assert torch.allclose(network.decode(latents, lr), whole, atol=1e-5)
    network.disable_tiling()
    assert torch.equal(network.decode(latents, lr), whole)


@torch.no_grad()
def test_margin_of_tiles_covers_what_the_decoder_sees():
    network = factories.autoencoder()
    latents, lr = torch.randn(1, 4, 40, 40), torch.rand(1, 3, 40, 40)
    changed = latents.clone()
    changed[..., 0, 0] += 100
    reach = (network.decode(changed, lr) != network.decode(latents, lr)).nonzero()[:, 2].max() // 4
    assert reach <= 2 * network.config.decoder_blocks + 4


def test_saves_and_loads(tmp_path):
    network = factories.autoencoder()
    network.save_pretrained(tmp_path)
    again = ResidualAutoencoder.from_pretrained(tmp_path)
    hr, lr = pair()
    assert torch.equal(again(hr, lr), network(hr, lr))
