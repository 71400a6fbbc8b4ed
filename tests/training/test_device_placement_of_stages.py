"""Every stage trains, resumes and is validated on a pretended GPU: no tensor meets one that lies elsewhere."""

from __future__ import annotations

import dataclasses
import warnings

import accelerate
import pytest
import torch
from test_picture_loss import _SmallPerception
from test_stage_decoder import PLAIN
from test_stage_guidance import OneBatch, stage, surroundings
from tests import factories
from tests.pretended_device import PretendedDevice
from torch.utils.data import Dataset
from toys import CONFIG

from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.training import picture_loss, stage_autoencoder
from dgafvsr.training.objective import Condition, Diffusion
from dgafvsr.training.picture_loss import SamplerLoss
from dgafvsr.training.runs import seeded
from dgafvsr.training.settings import TrainerConfig
from dgafvsr.training.stage_autoencoder import AutoencoderLoss, AutoencoderStage, measure_latents
from dgafvsr.training.stage_decoder import DecoderStage, grow
from dgafvsr.training.stage_denoiser import DenoiserStage, SamplerStage
from dgafvsr.training.stage_guidance import GuidedSamplerLoss, GuidedSamplerStage
from dgafvsr.training.trainer import TrainOptions, train

CUDA = torch.device("cuda:1")
SHORT = dataclasses.replace(CONFIG, steps=1, batch_size=2, checkpoint_every=1, validate_every=1, precision="bf16")
TERMS = ("perceptual", "lattice", "period", "statistics", "adversarial")
PICTURE = {"perceptual_side": 24, **{f"{term}_weight": 0.5 for term in TERMS}}


@pytest.fixture(autouse=True)
def _pretended(monkeypatch):
    class OnCuda(accelerate.Accelerator):
        device = property(lambda self: CUDA)

    monkeypatch.setattr(accelerate, "Accelerator", OnCuda)
    monkeypatch.setattr(picture_loss, "PerceptualLoss", _SmallPerception)
    with PretendedDevice("cuda:1"):
        yield


class _Pairs(OneBatch):
    """Pairs without flow."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return {key: sample[key] for key in ("hr", "lr")}


class _Pictures(Dataset):
    def __getitem__(self, index):
        return {key: value[0] for key, value in _Pairs()[index].items()}


def autoencoder_stage():
    network = ResidualAutoencoder(width=8, encoder_blocks=1, decoder_blocks=1, detail_width=8)
    return AutoencoderStage(network, _Pictures(), AutoencoderLoss(perceptual_weight=0.0))


def denoiser_stage():
    parts = factories.denoiser(), factories.autoencoder(), Diffusion.of(factories.scheduler(), 2), _Pictures()
    return DenoiserStage(*parts)


def sampler_stage():
    parts = factories.denoiser(), factories.autoencoder(), Diffusion.of(factories.scheduler(), 2), _Pictures()
    return SamplerStage(*parts, SamplerLoss(**PICTURE))


def guidance_stage():
    shares = {"shared_noise_share": 0.5, "transported_noise_share": 0.5, "guided_neighbor_share": 0.5}
    reads = {"reliability": True, "aligned_lr": True}
    made = stage(frames=3, reads=reads, sampler_share=0.5, **shares)
    made.data = _Pairs(3)  # the flow is estimated where it trains
    return made


def prompted_guidance_stage():
    unet = factories.denoiser(attention=True, num_class_embeds=20)
    network = factories.guidance(unet).requires_grad_(True)
    condition = Condition(prompt_embeds=torch.randn(1, 5, 6), noise_level=3)
    made = stage()
    return type(made)(network, surroundings(unet, condition=condition, initial_noise="transported"), OneBatch())


def guided_sampler_stage():
    unet = factories.denoiser()
    network = factories.guidance(unet).requires_grad_(True)
    loss = GuidedSamplerLoss(**PICTURE, transported_noise_share=0.5)
    return GuidedSamplerStage(network, surroundings(unet, turns="guided"), OneBatch(3), loss)


def decoder_stage():
    unet = factories.denoiser()
    network = grow(factories.autoencoder(), detail_blocks=1, fine_width=4).requires_grad_(True)
    around = dataclasses.replace(surroundings(unet), autoencoder=network)
    return DecoderStage(network, factories.guidance(unet), around, OneBatch(), PLAIN)


STAGES = [
    autoencoder_stage,
    denoiser_stage,
    sampler_stage,
    guidance_stage,
    prompted_guidance_stage,
    guided_sampler_stage,
    decoder_stage,
]


def validate(made, **_):
    """What the validation asks of a stage: pictures on the CPU."""
    for sampler in made.samplers().values():
        assert sampler(torch.rand(2, 3, 16, 18)).numpy().shape == (2, 3, 64, 72)


@pytest.mark.parametrize("make", STAGES)
def test_stages_train_and_are_validated(make, tmp_path):
    made = make()
    assert train(made, SHORT, folder=tmp_path, name="a", options=TrainOptions(validate=validate)).finished
    assert {parameter.device for parameter in made.parameters()} == {CUDA}


@pytest.mark.parametrize(("make", "precision"), [(denoiser_stage, "no"), (sampler_stage, "bf16")])
def test_stages_go_on_where_they_were_saved(make, precision, tmp_path):
    config: TrainerConfig = dataclasses.replace(SHORT, precision=precision, validate_every=0)
    train(make(), config, folder=tmp_path, name="a")
    resumed = make()
    assert train(resumed, dataclasses.replace(config, steps=2, micro_batch=1), folder=tmp_path, name="a").step == 2
    assert {value.device for value in resumed.state_dict().values()} == {CUDA}


def test_latents_are_measured_where_the_network_is():
    network = autoencoder_stage().trained.to(CUDA)
    means, deviations = measure_latents(network, _Pictures(), samples=2)
    assert len(means) == len(deviations) == 4


def test_the_perceptual_loss_of_the_autoencoder_follows_the_stage(monkeypatch, tmp_path):
    class Perception(_SmallPerception):
        def forward(self, output, target):
            return self.distance(self.features(output), self.features(target))

    monkeypatch.setattr(stage_autoencoder, "PerceptualLoss", Perception)
    network = ResidualAutoencoder(width=8, encoder_blocks=1, decoder_blocks=1, detail_width=8)
    made = AutoencoderStage(network, _Pictures(), AutoencoderLoss(perceptual_side=24))
    assert train(made, SHORT, folder=tmp_path, name="a").finished


def test_initial_weights_come_from_the_seed_and_leave_every_gpu_alone(monkeypatch):
    """torch would read and warn of the generators of all of them, in every process of a machine with several."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with seeded(3):
            found = torch.randn(4)
    assert torch.equal(found, torch.randn(4, generator=torch.Generator().manual_seed(3)))
    assert torch.equal(torch.get_rng_state(), before)
