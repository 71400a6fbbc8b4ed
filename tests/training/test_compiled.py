"""Compiled training steps: the same losses and weights, where there is a compiler."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
from tests import factories
from torch.utils.data import Dataset
from toys import CONFIG, ToyStage

from dgafvsr.errors import UsageError
from dgafvsr.flow.dis import DISFlow
from dgafvsr.models import compiling
from dgafvsr.training import stage as stages
from dgafvsr.training.objective import Diffusion
from dgafvsr.training.stage_guidance import GuidanceStage, Surroundings
from dgafvsr.training.trainer import train

ONE_STEP = replace(CONFIG, steps=1, batch_size=2, warmup_steps=0)


class TwoPairs(Dataset[dict[str, torch.Tensor]]):
    """Two pairs of frames of 32 x 32 pixels, always the same."""

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index % 2)
        hr = torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1
        flow = torch.randn(1, 2, 32, 32, generator=generator)
        return {"hr": hr, "lr": torch.nn.functional.avg_pool2d(hr, 4), "flow": flow}


def guidance_stage():
    unet = factories.denoiser()
    around = Surroundings(
        denoiser=unet,
        autoencoder=factories.autoencoder(),
        diffusion=Diffusion.of(factories.scheduler(), 2),
        flow=DISFlow(),
    )
    return GuidanceStage(factories.guidance(unet).requires_grad_(True), around, TwoPairs())


def weights_after_one_step(folder, *, compiled):
    stage = guidance_stage()
    train(stage, replace(ONE_STEP, compiled=compiled), folder=folder, name="guidance")
    return stage, {name: value.detach().clone() for name, value in stage.trained.named_parameters()}


def test_both_unets_are_compiled(monkeypatch, tmp_path):
    """A compiler that changes nothing: what it is given is run."""
    compiled, ran = [], []

    def pretended(function, **options):
        compiled.append(function.__self__)

        def run(*args, **kwargs):
            ran.append(function.__self__)
            return function(*args, **kwargs)

        return run

    monkeypatch.setattr(stages, "compiler_fault", lambda kind: None)
    monkeypatch.setattr(torch, "compile", pretended)
    stage, found = weights_after_one_step(tmp_path / "a", compiled=True)
    assert {id(network) for network in compiled} == {id(stage.trained), id(stage.around.denoiser)}
    assert {id(network) for network in ran} == {id(network) for network in compiled}
    _, expected = weights_after_one_step(tmp_path / "b", compiled=False)
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_without_a_compiler_one_line_is_said_and_training_goes_on(monkeypatch, tmp_path):
    monkeypatch.setattr(stages, "compiler_fault", lambda kind: "no C++ compiler")
    with pytest.warns(UserWarning, match="Nothing can be compiled here \\(no C\\+\\+ compiler\\)"):
        _, found = weights_after_one_step(tmp_path / "a", compiled=True)
    _, expected = weights_after_one_step(tmp_path / "b", compiled=False)
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_compiled_needs_a_network_that_can_be(tmp_path):
    with pytest.raises(UsageError, match="compiled is not possible"):
        train(ToyStage(), replace(CONFIG, compiled=True), folder=tmp_path, name="toy")


@pytest.mark.slow
def test_a_compiled_step_equals_a_plain_one(tmp_path):
    """Adam's first step is the gradient's sign: where a gradient is rounding alone, it may differ by twice the rate."""
    if (fault := compiling.compiler_fault("cpu")) is not None:
        pytest.skip(fault)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler, about diffusers' code
        _, found = weights_after_one_step(tmp_path / "a", compiled=True)
    _, expected = weights_after_one_step(tmp_path / "b", compiled=False)
    rate = ONE_STEP.learning_rate
    far = sum(int(((value - expected[name]).abs() > 1e-5).sum()) for name, value in found.items())
    assert far < 0.01 * sum(value.numel() for value in found.values())
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], atol=2.01 * rate, rtol=0)
