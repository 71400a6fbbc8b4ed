from __future__ import annotations

import pytest
import torch
from tests import factories

from dgafvsr.flow.dis import DISFlow
from dgafvsr.sampling.ftcm import FTCM
from dgafvsr.training.objective import Diffusion
from dgafvsr.training.rollout import Rollout


@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize(
    ("initial_noise", "turns"), [("independent", "guided"), ("shared", "unguided"), ("transported", "guided")]
)
def test_networks_in_training_show_what_the_pipeline_will(guided, initial_noise, turns):
    pipe = factories.pipeline(initial_noise=initial_noise, turns=turns)
    lr = torch.from_numpy(factories.clip(3, 18, 22)).permute(0, 3, 1, 2).float() / 255
    rollout = Rollout(
        denoiser=pipe.unet,
        autoencoder=pipe.vae,
        diffusion=Diffusion.of(factories.scheduler(), 2),
        guidance=FTCM(network=pipe.guidance, ogwm=pipe.ogwm) if guided else None,
        flow=DISFlow(),
        initial_noise=initial_noise,
        turns=turns,
    )
    expected = pipe(lr, seed=0, guided=guided, output_type="pt").frames
    assert torch.equal(rollout(lr), expected)
    assert torch.equal(rollout(lr), expected)
