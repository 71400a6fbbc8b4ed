"""What the trainer trains: a stage is the network that learns, the frozen ones around it, its data and its loss."""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from dgafvsr.errors import UsageError
from dgafvsr.models.compiling import Compilable, compiler_fault
from dgafvsr.training.draws import Draws

__all__ = ["NOISE_BINS", "ClipSampler", "Stage", "by_noise_level"]

NOISE_BINS = 5
"""The diffusion time is cut into so many equal parts for the report of losses by noise level."""


class ClipSampler(Protocol):
    """A model as it is: a low-resolution clip in, the clip four times as large out."""

    def __call__(self, lr: Tensor) -> Tensor:
        """T 3 h w in [0, 1] -> T 3 4h 4w in [0, 1] on the CPU."""
        ...


class Stage(nn.Module):
    """What is learned and by which loss; frozen networks are further submodules and stay in eval mode.

    Subclasses set `trained` and `data` and implement `forward(batch, draws) -> losses`: scalars by name, of which
    `loss` is minimised, and optionally `by_level`, see `by_noise_level`.
    """

    trained: nn.Module
    data: Dataset[dict[str, Tensor]]

    @property
    def critic(self) -> nn.Module | None:
        """What learns beside `trained` and is kept in checkpoints, but not in what the stage exports; None without."""
        return None

    def learned(self) -> list[nn.Parameter]:
        """Parameters that the optimiser moves."""
        networks = [self.trained] if self.critic is None else [self.trained, self.critic]
        return [parameter for network in networks for parameter in network.parameters() if parameter.requires_grad]

    def forward(self, batch: dict[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Losses of a batch of N samples; randomness comes from `draws` alone."""
        raise NotImplementedError

    def samplers(self) -> dict[str, ClipSampler]:
        """What validation looks at, by name; none where the stage cannot make pictures."""
        return {}

    def train(self, mode: bool = True) -> Stage:
        """Training mode for the network that learns; the frozen ones stay as they are used."""
        super().train(False)
        self.trained.train(mode)
        if self.critic is not None:
            self.critic.train(mode)
        return self

    def checkpoint_gradients(self) -> None:
        """Recompute activations in the backward pass instead of keeping them, in every network that can.

        Frozen networks too: gradients of G_U pass through D_U.

        Raises:
            UsageError: no network of this stage can.
        """
        able = [module for module in self.children() if getattr(module, "_supports_gradient_checkpointing", False)]
        for module in able:
            network: Any = module
            network.enable_gradient_checkpointing()
        if not able:
            raise UsageError(
                "gradient_checkpointing is not possible here",
                got=type(self.trained).__name__,
                remedy="leave it false, or lower micro_batch",
            )

    def compile_networks(self) -> None:
        """Run the U-Nets compiled, the frozen ones too; with one line where nothing can be compiled, as they are.

        Raises:
            UsageError: this stage has none.
        """
        able = [module for module in self.modules() if isinstance(module, Compilable)]
        if not able:
            raise UsageError(
                "compiled is not possible here", got=type(self.trained).__name__, remedy="leave it false for this stage"
            )
        networks: list[Any] = list(able)
        fault = compiler_fault(networks[0].device.type)
        if fault is not None:
            warnings.warn(f"Nothing can be compiled here ({fault}); the stage runs uncompiled", stacklevel=2)
            return
        for network in networks:
            network.compile(dynamic=False)


def by_noise_level(errors: Tensor, timesteps: Tensor, total: int) -> Tensor:
    """Sums and counts of errors in equal parts of the diffusion time: 2 x NOISE_BINS, detached.

    Args:
        errors: of each sample, N.
        timesteps: of each sample, N, from 0 to total - 1.
        total: timesteps of the forward process.
    """
    bins = (timesteps * NOISE_BINS // total).clamp(0, NOISE_BINS - 1).to(errors.device)
    sums = torch.zeros(2, NOISE_BINS, device=errors.device)
    sums[0].index_add_(0, bins, errors.detach().float())
    sums[1].index_add_(0, bins, torch.ones_like(errors, dtype=torch.float32))
    return sums
