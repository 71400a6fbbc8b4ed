import numpy as np
import pytest
import torch

from dgafvsr.errors import InputError
from dgafvsr.evaluation.temporal import TruthMotion, tlpips, tof, warping_error
from dgafvsr.flow.dis import DISFlow
from tests.evaluation.pictures import noisy, smooth_clip


def mean_distance(prediction, truth):
    """A stand-in for LPIPS."""
    return (prediction - truth).abs().mean(dim=(1, 2, 3))


def shifted_flow(current, neighbor):
    """A stand-in for a flow network: dx is the difference of the mean red, dy of the mean green."""
    means = (current - neighbor).mean(dim=(2, 3))[:, :2]
    return means[:, :, None, None].expand(-1, 2, *current.shape[-2:])


def still(height=40, width=52, dx=0.0):
    flow = torch.zeros(1, 2, height, width)
    flow[:, 0] = dx
    return TruthMotion(flow=flow, visible=torch.ones(1, 1, height, width, dtype=torch.bool))


def test_tlpips_compares_changes_not_pictures():
    truth, prediction = smooth_clip(t=2), noisy(smooth_clip(t=2, seed=4))
    expected = 1e3 * abs(
        np.abs(truth[1].numpy() - truth[0].numpy()).mean()
        - np.abs(prediction[1].numpy() - prediction[0].numpy()).mean()
    )
    got = tlpips(prediction[1:], prediction[:1], truth_change=mean_distance(truth[1:], truth[:1]), lpips=mean_distance)
    assert float(got) == pytest.approx(expected, rel=1e-4)
    same = tlpips(truth[1:], truth[:1], truth_change=mean_distance(truth[1:], truth[:1]), lpips=mean_distance)
    assert float(same) == 0


def test_tof_is_the_mean_absolute_flow_difference_times_ten():
    truth, prediction = smooth_clip(t=2), smooth_clip(t=2, seed=4)
    motion = TruthMotion.between(truth[1:], truth[:1], shifted_flow, occlusions=False)
    difference = (prediction[1] - prediction[0]).mean(dim=(1, 2))[:2] - (truth[1] - truth[0]).mean(dim=(1, 2))[:2]
    got = tof(prediction[1:], prediction[:1], motion=motion, estimator=shifted_flow)
    assert float(got) == pytest.approx(10 * float(difference.abs().mean()), rel=1e-4)
    assert motion.visible is None


def test_tof_with_a_real_estimator_is_zero_for_the_truth_and_not_for_noise():
    truth = smooth_clip(t=2, height=72, width=80, shift=2)
    motion = TruthMotion.between(truth[1:], truth[:1], DISFlow(), occlusions=False)
    assert float(tof(truth[1:], truth[:1], motion=motion, estimator=DISFlow())) == 0
    worse = noisy(truth, 0.2)
    assert float(tof(worse[1:], worse[:1], motion=motion, estimator=DISFlow())) > 0.1


def test_warping_error_of_still_frames_is_their_mean_squared_difference():
    prediction = smooth_clip(t=2)
    expected = 1e3 * np.mean((prediction[1].numpy() - prediction[0].numpy()) ** 2)
    assert float(warping_error(prediction[1:], prediction[:1], motion=still())) == pytest.approx(expected, rel=1e-3)


def test_warping_error_follows_the_motion_and_leaves_occlusions_out():
    prediction = smooth_clip(t=2, shift=3)  # frame 1 shows at x what frame 0 showed at x - 3
    motion = still(dx=-3.0)
    assert float(warping_error(prediction[1:], prediction[:1], motion=motion)) > 1e-3
    visible = motion.visible.clone()
    visible[..., :3] = False
    masked = TruthMotion(flow=motion.flow, visible=visible)
    assert float(warping_error(prediction[1:], prediction[:1], motion=masked)) < 1e-6


def test_nothing_visible_gives_no_error():
    motion = TruthMotion(flow=torch.zeros(1, 2, 40, 52), visible=torch.zeros(1, 1, 40, 52, dtype=torch.bool))
    prediction = smooth_clip(t=2)
    assert float(warping_error(prediction[1:], prediction[:1], motion=motion)) == 0


def test_truth_motion_reads_the_earlier_frame():
    truth = smooth_clip(t=2, height=72, width=80, shift=2)
    motion = TruthMotion.between(truth[1:], truth[:1], DISFlow())
    inner = motion.flow[..., 16:-16, 16:-16]
    assert float(inner[:, 0].median()) == pytest.approx(-2, abs=0.1)
    assert motion.visible[..., 16:-16, 16:-16].float().mean() > 0.95


def test_broken_predictions_are_refused():
    broken = torch.full((1, 3, 40, 52), torch.nan)
    with pytest.raises(InputError):
        warping_error(broken, broken, motion=still())
