import pytest
import torch
from tests import factories

from dgafvsr.errors import InputError, UsageError
from dgafvsr.flow.dis import DISFlow
from dgafvsr.flow.fm import bidirectional_flows
from dgafvsr.sampling.ftcm import FTCM
from dgafvsr.sampling.inputs import Clip, check_noise_level
from dgafvsr.sampling.ogwm import OGWM
from dgafvsr.sampling.transport import NoiseTransport
from dgafvsr.sampling.windows import Window, plan_windows

T, H, W = 6, 16, 20
CPU = torch.device("cpu")


def clip(**changes):
    lr = torch.rand(T, 3, H, W, generator=torch.Generator().manual_seed(0))
    settings = {
        "lr": lr,
        "seed": 1,
        "first_frame": 0,
        "initial_noise": "independent",
        "noise": None,
        "latents": None,
        "latent_channels": 4,
        "flows": None,
        "noise_level": 0,
        "low_res_scheduler": None,
        "class_labels": False,
    }
    return Clip(**(settings | changes))


def guidance():
    unet = factories.denoiser()
    return FTCM(network=factories.guidance(unet), ogwm=OGWM())


def test_windows_see_their_own_frames_in_the_networks_range():
    inputs = clip().windows(plan_windows(T, 3, 0), None, None, CPU)
    assert inputs.lr.shape == (2, 3, 3, H, W)
    assert torch.allclose(inputs.lr.flatten(0, 1), 2 * clip().lr - 1)
    assert inputs.flow_forward is inputs.flow_backward is inputs.class_labels is None


def test_noise_belongs_to_the_frame_not_to_the_window():
    whole = clip().windows([Window(start=0, stop=T)], None, None, CPU).latents[0]
    part = clip().windows([Window(start=2, stop=5)], None, None, CPU).latents[0]
    later = clip(first_frame=2).windows([Window(start=0, stop=3)], None, None, CPU).latents[0]
    assert torch.equal(part, whole[2:5])
    assert torch.equal(later, whole[2:5])


def test_given_flows_are_cut_to_the_window():
    own, estimator = guidance(), DISFlow()
    flows = bidirectional_flows(clip().lr, estimator)
    given = clip(flows=(flows.forward, flows.backward))
    windows = [Window(start=1, stop=4)]
    first, second = given.windows(windows, own, None, CPU), clip().windows(windows, own, estimator, CPU)
    assert torch.equal(first.flow_forward, second.flow_forward)
    assert torch.equal(first.flow_backward, second.flow_backward)
    assert first.flow_forward.shape[:2] == (1, 2)


def test_flow_of_a_pair_is_computed_once_for_guidance_and_noise():
    asked = []

    def estimator(current, neighbor):
        asked.append((current.mean().item(), neighbor.mean().item()))
        return DISFlow()(current, neighbor)

    moving = clip(initial_noise="transported", transport=NoiseTransport(1, None))
    inputs = moving.windows([Window(start=0, stop=T)], guidance(), estimator, CPU)
    assert inputs.flow_forward.shape[:2] == inputs.flow_backward.shape[:2] == (1, T - 1)
    assert len(asked) == len(set(asked)) == 2 * (T - 1)


def test_class_labels_are_the_noise_level():
    inputs = clip(class_labels=True).windows(plan_windows(T, 2, 0), None, None, CPU)
    assert torch.equal(inputs.class_labels, torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize(
    "wrong",
    [{"latents": torch.zeros(T, 3, H, W)}, {"flows": (torch.zeros(T - 1, 2, 4 * H, 4 * W), torch.zeros(1))}],
)
def test_tensors_that_do_not_fit_are_refused(wrong):
    with pytest.raises(InputError, match="do not fit the frames"):
        clip(**wrong)


@pytest.mark.parametrize(("level", "levels"), [(1, None), (9, 9), (-1, 9)])
def test_noise_levels_that_a_model_lacks_are_refused(level, levels):
    with pytest.raises(UsageError):
        check_noise_level(level, levels, low_res_scheduler=object())
    check_noise_level(0, levels, low_res_scheduler=None)
