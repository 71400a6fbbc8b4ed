"""Noise of training sequences: the frames' own, shared, or carried along the motion, as sampling may start frames."""

from __future__ import annotations

import torch
from torch import Tensor

from dgafvsr.models.autoencoder import FACTOR
from dgafvsr.sampling.transport import Grains
from dgafvsr.training.draws import Draws

__all__ = ["draw_noise", "transport_noise"]


def draw_noise(*shape: int, shared_share: float, draws: Draws) -> Tensor:
    """Noise of sequences, N T C h w of shape T C h w; in a share of the sequences all frames have the first frame's."""
    noise = draws.normal(*shape)
    shared = draws.uniform() < shared_share
    return torch.where(shared.view(-1, 1, 1, 1, 1), noise[:, :1], noise)


def transport_noise(noise: Tensor, flow: Tensor, *, share: float, draws: Draws) -> Tensor:
    """The noise, but transported along the flow in a share of the sequences (`dgafvsr.sampling.transport`).

    Samples have flow in one direction only, so where several pixels read one grain, the first of them keeps it.

    Args:
        noise: N T C h w.
        flow: flow[:, k] from frame k+1 to frame k, N T-1 2 4h 4w in HR pixels.
        share: probability, 0 to 1; 0 draws nothing.
        draws: of these N samples.
    """
    if share == 0:
        return noise
    chosen, seeds = draws.uniform() < share, draws.integers(2**31).tolist()
    small = torch.nn.functional.avg_pool2d(flow.flatten(0, 1).float().cpu(), FACTOR).unflatten(0, flow.shape[:2])
    carried = [
        _carried(seeds[n], small[n] / FACTOR, noise.shape[2]) if chosen[n] else noise[n].cpu()
        for n in range(len(noise))
    ]
    return torch.stack(carried).to(noise)


def _carried(seed: int, flow: Tensor, channels: int) -> Tensor:
    """T C h w of flow T-1 2 h w in latent pixels."""
    grains = Grains.born(0, *flow.shape[-2:])
    drawn = [grains.draw(seed, channels)]
    for index, step in enumerate(flow):
        confirmed = torch.ones(flow.shape[-2:], dtype=torch.bool)
        grains = grains.carried(step, confirmed, index + 1)
        drawn.append(grains.draw(seed, channels))
    return torch.stack(drawn)
