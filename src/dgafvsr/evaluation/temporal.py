"""Ours: tLPIPS, tOF and the warping error, which judge how a clip changes from one frame to the next.

Each function takes two neighbouring frames as a batch of clips of two; the mean over a clip is taken by the runner. The
terms of the ground truth are separate, so that several methods share them. The flow estimator is passed in.

    tLPIPS = mean_t | LPIPS(gt_t, gt_{t-1}) - LPIPS(sr_t, sr_{t-1}) | x 1e3               (Chu et al., TecoGAN)
    tOF    = mean_t | F(sr_t, sr_{t-1}) - F(gt_t, gt_{t-1}) | x 10, mean over pixels and (dx, dy) in pixels
    E_warp = mean_t || M (sr_t - warp(sr_{t-1}, F)) ||^2 / (3 |M|) x 1e3, F = F(gt_t, gt_{t-1})  (Lai et al., 2018)

M leaves out occlusions: pixels where the flow of the ground truth fails the forward-backward check of flow/fields.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dgafvsr.evaluation.metrics import check_pictures, for_float64
from dgafvsr.flow.estimator import FlowEstimator
from dgafvsr.flow.fields import backward_warp, consistency_mask

__all__ = ["TruthMotion", "tlpips", "tof", "warping_error"]

TLPIPS_FACTOR, TOF_FACTOR, WARPING_FACTOR = 1e3, 10.0, 1e3


@dataclass(frozen=True, kw_only=True)
class TruthMotion:
    """How the ground truth moves between two neighbouring frames: what all methods are compared with."""

    flow: Tensor
    """N 2 H W, (dx, dy) in pixels: truth_t(p) ~ truth_{t-1}(p + flow(p))."""
    visible: Tensor | None = None
    """N 1 H W bool, False where truth_t shows what truth_{t-1} does not; None if nobody asked."""

    @classmethod
    def between(
        cls, truth: Tensor, previous_truth: Tensor, estimator: FlowEstimator, *, occlusions: bool = True
    ) -> TruthMotion:
        """The motion from frame t to frame t-1.

        Args:
            truth: N 3 H W in [0, 1], frame t.
            previous_truth: N 3 H W in [0, 1], frame t-1.
            estimator: gives F.
            occlusions: whether to find them, which costs a second flow.
        """
        flow = estimator(truth, previous_truth)
        visible = consistency_mask(flow, estimator(previous_truth, truth)) if occlusions else None
        return cls(flow=flow, visible=visible)


def tlpips(
    prediction: Tensor,
    previous_prediction: Tensor,
    *,
    truth_change: Tensor,
    lpips: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """How far the perceptual change of a prediction is from that of the truth, x 1e3.

    Args:
        prediction: N 3 H W in [0, 1], frame t.
        previous_prediction: N 3 H W in [0, 1], frame t-1.
        truth_change: N, LPIPS(truth_t, truth_{t-1}).
        lpips: N 3 H W, N 3 H W -> N.

    Returns:
        N, at least 0.
    """
    check_pictures(prediction, previous_prediction, metric="tlpips")
    return (truth_change - lpips(prediction, previous_prediction)).abs() * TLPIPS_FACTOR


def tof(prediction: Tensor, previous_prediction: Tensor, *, motion: TruthMotion, estimator: FlowEstimator) -> Tensor:
    """How far the flow of a prediction is from that of the truth, x 10.

    Args:
        prediction: N 3 H W in [0, 1], frame t.
        previous_prediction: N 3 H W in [0, 1], frame t-1.
        motion: of the truth, by the same estimator.
        estimator: gives F.

    Returns:
        N, mean absolute difference over pixels, dx and dy, in tenths of a pixel.
    """
    check_pictures(prediction, previous_prediction, metric="tof")
    flow = estimator(prediction, previous_prediction)
    return (flow - motion.flow).abs().mean(dim=(1, 2, 3)) * TOF_FACTOR


def warping_error(prediction: Tensor, previous_prediction: Tensor, *, motion: TruthMotion) -> Tensor:
    """How much a prediction changes along the motion of the truth, x 1e3; 0 is perfect stability, not quality.

    Args:
        prediction: N 3 H W in [0, 1], frame t.
        previous_prediction: N 3 H W in [0, 1], frame t-1.
        motion: of the truth, with its visible pixels.

    Returns:
        N, mean squared difference over the visible pixels and channels; 0 where nothing is visible.
    """
    check_pictures(prediction, previous_prediction, metric="warping")
    assert motion.visible is not None, "TruthMotion.between(..., occlusions=True) comes first"
    aligned = backward_warp(previous_prediction, motion.flow, outside="border")
    error = (prediction - aligned).square().mean(dim=1, keepdim=True) * motion.visible
    error, visible = for_float64(error), for_float64(motion.visible)
    pixels = visible.sum(dim=(1, 2, 3))
    return error.sum(dim=(1, 2, 3), dtype=torch.float64) / pixels.clamp(min=1) * WARPING_FACTOR
