import pytest
import torch
from diffusers import DDPMScheduler
from tests import pretended_device
from tests.pretended_device import PretendedDevice

from dgafvsr.errors import ModelError
from dgafvsr.sampling.predictions import add_noise, check_prediction_type, target, to_x0

SCHEDULER = DDPMScheduler(beta_schedule="scaled_linear", beta_start=1e-4, beta_end=0.02)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_perfect_prediction_gives_x0_back(kind):
    x0, noise, alpha_bar = torch.randn(2, 4, 3, 5), torch.randn(2, 4, 3, 5), torch.tensor([0.9, 0.2])
    noisy = add_noise(x0, noise, alpha_bar)
    assert torch.allclose(to_x0(target(x0, noise, alpha_bar, kind), noisy, alpha_bar, kind), x0, atol=1e-5)


def test_equals_diffusers_noise_and_velocity():
    x0, noise, times = torch.randn(3, 4, 3, 5), torch.randn(3, 4, 3, 5), torch.tensor([0, 400, 999])
    alpha_bar = SCHEDULER.alphas_cumprod[times]
    assert torch.allclose(add_noise(x0, noise, alpha_bar), SCHEDULER.add_noise(x0, noise, times), atol=1e-6)
    velocity = SCHEDULER.get_velocity(x0, noise, times)
    assert torch.allclose(target(x0, noise, alpha_bar, "v_prediction"), velocity, atol=1e-6)


def test_v_prediction_is_defined_at_pure_noise():
    x0, noise = torch.randn(1, 4, 3, 5), torch.randn(1, 4, 3, 5)
    zero = torch.tensor(0.0)
    assert torch.equal(to_x0(target(x0, noise, zero, "v_prediction"), noise, zero, "v_prediction"), x0)


def test_unknown_type_is_refused():
    with pytest.raises(ModelError, match="epsilon, v_prediction, sample"):
        check_prediction_type("v")


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_a_number_of_the_scheduler_is_read_where_it_is(kind, monkeypatch):
    """Moved to a GPU at each visit, it would have the program wait for what the GPU still has to do."""
    prediction, noisy, alpha_bar = torch.randn(2, 4, 3, 5), torch.randn(2, 4, 3, 5), SCHEDULER.alphas_cumprod[700]
    expected = to_x0(prediction, noisy, alpha_bar.expand(2), kind)
    with PretendedDevice("cuda:1") as device:
        there = prediction.to(device), noisy.to(device)
        monkeypatch.setattr(pretended_device._Moved, "forward", None)
        found = to_x0(*there, alpha_bar, kind)
        assert found.device == device
        monkeypatch.undo()
        assert torch.equal(found.cpu(), expected)
