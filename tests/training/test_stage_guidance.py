from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests import factories
from torch.utils.data import Dataset
from toys import CONFIG

from dgafvsr.flow.dis import DISFlow
from dgafvsr.flow.fm import bidirectional_flows
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.sampling.ftcm import FTCM
from dgafvsr.sampling.ogwm import OGWM
from dgafvsr.training.draws import Draws
from dgafvsr.training.objective import Diffusion, denoiser_errors, guidance_loss
from dgafvsr.training.stage_guidance import GuidanceStage, GuidedSamplerLoss, GuidedSamplerStage, Surroundings
from dgafvsr.training.trainer import TrainOptions, train


def batch_of(samples, frames=3, side=32):
    generator = torch.Generator().manual_seed(4)
    hr = torch.rand(len(samples), frames, 3, side, side, generator=generator) * 2 - 1
    return {
        "hr": hr,
        "lr": torch.nn.functional.avg_pool2d(hr.flatten(0, 1), 4).unflatten(0, hr.shape[:2]),
        "flow": torch.randn(len(samples), frames - 1, 2, side, side, generator=generator),
    }


class OneBatch(Dataset):
    def __init__(self, frames=2):
        self.batch = batch_of(range(2), frames)

    def __getitem__(self, index):
        return {key: value[index % 2] for key, value in self.batch.items()}


def surroundings(unet, **changes):
    return Surroundings(
        denoiser=unet,
        autoencoder=factories.autoencoder(),
        diffusion=Diffusion.of(factories.scheduler(), 2),
        flow=DISFlow(),
        **changes,
    )


def stage(*, trained=False, frames=2, reads=None, **changes):
    unet = factories.denoiser()
    network = factories.guidance(unet, trained=trained, **(reads or {}))
    return GuidanceStage(network.requires_grad_(True), surroundings(unet), OneBatch(frames), **changes)


def test_step_0_is_the_frozen_denoisers():
    made, batch, draws = stage(), batch_of([7, 8], 2), Draws(0, [7, 8])
    with torch.no_grad():
        found = made(batch, Draws(0, [7, 8]))["loss"]
        around = made.around
        times = torch.stack([draws.integers(1000), draws.integers(2)])[0]
        draws.uniform()
        noise = draws.normal(2, 4, 8, 8)[:, 1]
        x0 = around.autoencoder.encode(batch["hr"][:, 1], batch["lr"][:, 1])
        expected = denoiser_errors(
            around.denoiser, around.diffusion, x0=x0, lr=batch["lr"][:, 1], noise=noise, timesteps=times
        ).mean()
    torch.testing.assert_close(found, expected)


def test_guided_neighbour_is_what_the_sampler_has():
    """Three frames: the middle one's x0 estimate is guided by the first one's."""
    made = stage(trained=True, frames=3, guided_neighbor_share=1.0)
    around, batch = made.around, batch_of([0, 1], 3)
    generator = torch.Generator().manual_seed(1)
    x0, noise = (torch.randn(2, 3, 4, 8, 8, generator=generator) for _ in range(2))
    inputs = {"x0": x0, "lr": batch["lr"], "flow": batch["flow"], "noise": noise}
    times = torch.tensor([900, 300])
    with torch.no_grad():
        three = guidance_loss(around.denoiser, made.guidance, around.diffusion, **inputs, timesteps=times)
        first = {key: value[:, : 1 if key == "flow" else 2] for key, value in inputs.items()}
        middle = guidance_loss(around.denoiser, made.guidance, around.diffusion, **first, timesteps=times)
        kept = made.guidance.keep(batch["flow"][:, 1])
        aligned = made.guidance.align(middle.x0, batch["lr"][:, 1], kept)
    assert torch.equal(three.aligned, aligned)


def test_share_of_guided_neighbours_decides_by_step():
    off, on = (stage(trained=True, frames=3, guided_neighbor_share=share) for share in (0.0, 1.0))
    half = stage(trained=True, frames=3, guided_neighbor_share=0.5)
    batch = batch_of([0, 1], 3)
    with torch.no_grad():
        for step in range(4):
            draws = [Draws(0, [0, 1], step=step) for _ in range(3)]
            unguided, guided, either = (
                float(made(batch, own)["loss"]) for made, own in zip((off, on, half), draws, strict=True)
            )
            assert unguided != guided
            assert either == (guided if Draws(0, [0, 1], step=step).together(0.5) else unguided)


def test_pairs_of_longer_sequences_are_their_last_frames():
    with torch.no_grad():
        whole = batch_of([0, 1], 3)
        seen = stage(trained=True, frames=3)._latents(whole["hr"][:, 1:], whole["lr"][:, 1:], Draws(0, [0, 1]))
    assert seen.shape == (2, 2, 4, 8, 8)


def test_one_batch_is_learned(tmp_path):
    class Same(GuidanceStage):
        """The same noise and timesteps in every step."""

        def forward(self, batch, draws):
            return super().forward(batch, Draws(0, range(len(draws))))

    unet = factories.denoiser()
    made = Same(GuidanceUNet.from_denoiser(unet), surroundings(unet), OneBatch())
    reports = []
    config = replace(CONFIG, steps=25, batch_size=2, learning_rate=3e-3, warmup_steps=1, checkpoint_every=100)
    train(made, config, folder=tmp_path, name="guidance", options=TrainOptions(listener=reports.append))
    assert reports[-1].losses["loss"] < 0.5 * reports[0].losses["loss"]
    assert all(not parameter.requires_grad for parameter in unet.parameters())


def test_flow_is_estimated_where_samples_bring_none():
    made, batch = stage(), batch_of([0, 1], 3)
    del batch["flow"]
    flow = made._flow(batch)
    assert flow.shape == (2, 2, 2, 32, 32)
    large = torch.nn.functional.interpolate(
        batch["lr"].flatten(0, 1) / 2 + 0.5, scale_factor=4, mode="bicubic", align_corners=False
    ).unflatten(0, (2, 3))
    assert torch.equal(flow[:, 1], DISFlow()(large[:, 2], large[:, 1]))


@pytest.mark.parametrize("dense", [True, False])
def test_unrolled_stage_moves_the_guidance_alone(dense):
    unet = factories.denoiser()
    network = GuidanceUNet.from_denoiser(unet, dense=dense).requires_grad_(True)
    loss = GuidedSamplerLoss(perceptual_weight=0.0)
    made = GuidedSamplerStage(network, surroundings(unet), OneBatch(3), loss)
    losses = made(batch_of([0, 1], 3), Draws(0, [0, 1]))
    losses["loss"].backward()
    assert set(losses) == {"loss", "l1", "grid", "temporal"}
    assert network.zero_mid.weight.grad.abs().sum() > 0
    assert bool(len(network.zero_up)) == dense
    assert all(parameter.grad is None for parameter in unet.parameters())


def test_aligned_lr_frame_shows_where_the_flow_is_wrong():
    unet = factories.denoiser()
    plain = GuidanceUNet.from_denoiser(unet)
    seeing = GuidanceUNet.from_denoiser(unet, aligned_lr=True)
    assert seeing.conv_in.weight[:, :11].equal(plain.conv_in.weight)
    assert seeing.conv_in.weight[:, 11:].abs().sum() == 0
    ogwm = OGWM(convention="centered")
    x0, lr = torch.randn(1, 4, 6, 10), torch.rand(1, 3, 6, 10)
    still = torch.zeros(1, 2, 24, 40)
    wrong = still.clone()
    wrong[:, 0, :, 20:] = 8.0  # the right half is said to come from two latent pixels further right
    ftcm = FTCM(network=seeing, ogwm=ogwm)
    right, off = (ftcm.align(x0, lr, ftcm.keep(flow))[:, 4:] for flow in (still, wrong))
    torch.testing.assert_close(right, lr)
    torch.testing.assert_close(off[..., :5], lr[..., :5])
    assert (off[..., 5:] - lr[..., 5:]).abs().mean() > 0.1
    residuals = ftcm.residuals(latents=x0, lr=lr, aligned=ftcm.align(x0, lr, ftcm.keep(still)), timestep=5)
    assert residuals.mid.shape[0] == 1


@pytest.mark.parametrize("ogwm", [OGWM(), OGWM(convention="centered"), OGWM(rescaling="bicubic")])
def test_reliability_of_the_flow_is_the_last_channel(ogwm):
    unet = factories.denoiser()
    plain = GuidanceUNet.from_denoiser(unet)
    seeing = GuidanceUNet.from_denoiser(unet, reliability=True)
    assert seeing.conv_in.weight[:, :11].equal(plain.conv_in.weight)
    assert seeing.conv_in.weight[:, 11:].abs().sum() == 0
    ftcm, without = FTCM(network=seeing, ogwm=ogwm), FTCM(network=plain, ogwm=ogwm)
    assert (ftcm.reliability, without.reliability) == (True, False)
    x0, lr = torch.randn(1, 4, 6, 10), torch.rand(1, 3, 6, 10)
    flow = torch.randn(1, 2, 24, 40)
    trust = torch.ones(1, 1, 24, 40)
    trust[..., :20] = 0  # five cells
    trust[..., 20:22] = 0  # and half of the sixth
    aligned = ftcm.align(x0, lr, ftcm.keep(torch.cat([flow, trust], dim=1)))
    torch.testing.assert_close(aligned[:, :4], without.align(x0, lr, without.keep(flow)))
    if ogwm.fused:
        assert aligned[0, 4, 0].tolist() == [0] * 5 + [0.5] + [1] * 4
    else:
        torch.testing.assert_close(aligned[:, 4:].mean(), torch.tensor(0.45))


def test_reliability_is_the_same_in_training_and_in_sampling():
    """A pair of frames through the stage's own flow and through the pipeline's: the network reads the same."""
    made = stage(trained=True, reads={"reliability": True})
    batch = batch_of([0, 1], 2)
    del batch["flow"]
    flow = made._flow(batch)
    assert flow.shape[2] == 3
    pictures = (batch["lr"][0] / 2 + 0.5).clamp(0, 1)
    flows = bidirectional_flows(pictures, made.around.flow, keep=made.guidance.keep, reliability=True)
    torch.testing.assert_close(flows.forward[:1], made.guidance.keep(flow[:1, 0]))
    with torch.no_grad():
        loss = made(batch, Draws(0, [0, 1], step=0))["loss"]
    assert torch.isfinite(loss)
