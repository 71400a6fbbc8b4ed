from __future__ import annotations

import torch
from test_stage_guidance import OneBatch, batch_of, surroundings
from tests import factories
from toys import CONFIG

from dgafvsr.training.draws import Draws
from dgafvsr.training.stage_decoder import DecoderStage, grow
from dgafvsr.training.stage_guidance import GuidedSamplerLoss
from dgafvsr.training.trainer import train

PLAIN = GuidedSamplerLoss(perceptual_weight=0.0, grid_weight=1.0, lattice_weight=0.5, temporal_weight=1.0)


def stage():
    unet = factories.denoiser()
    around = surroundings(unet)
    network = grow(factories.autoencoder(), detail_blocks=1, fine_width=4).requires_grad_(True)
    return DecoderStage(network, factories.guidance(unet), around, OneBatch(), PLAIN)


@torch.no_grad()
def test_a_grown_decoder_shows_the_same_pictures_until_it_learns():
    before = factories.autoencoder()
    after = grow(before, detail_blocks=2, fine_width=8)
    latents, lr = torch.randn(1, 4, 9, 13), torch.rand(1, 3, 9, 13)
    torch.testing.assert_close(after.decode(latents, lr), before.decode(latents, lr))
    assert after.config.latents_std == before.config.latents_std
    assert sum(p.numel() for p in after.parameters()) > sum(p.numel() for p in before.parameters())


def test_only_the_decoder_learns(tmp_path):
    made = stage()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    assert train(made, CONFIG, folder=tmp_path, name="decoder").finished
    moved = {name for name, value in made.state_dict().items() if not torch.equal(value, before[name])}
    learners = ("trained.decoder.", "trained.detail.", "trained.detail_trunk.", "trained.fine.")
    assert moved
    assert all(name.startswith(learners) for name in moved)
    assert all(any(name.startswith(start) for name in moved) for start in learners)


def test_losses_are_means_over_both_frames_and_the_change_between_them():
    losses = stage()(batch_of([3, 4], 2), Draws(0, [3, 4]))
    assert set(losses) == {"l1", "grid", "lattice", "temporal", "loss"}
    total = losses["l1"] + losses["grid"] + 0.5 * losses["lattice"] + losses["temporal"]
    torch.testing.assert_close(losses["loss"], total)
