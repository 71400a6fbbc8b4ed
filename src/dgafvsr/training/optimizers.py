"""The optimisers by name, and the exponential average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from dgafvsr.errors import UsageError
from dgafvsr.training.settings import TrainerConfig

__all__ = ["Average", "make_optimizer"]


def make_optimizer(parameters: list[nn.Parameter], config: TrainerConfig) -> torch.optim.Optimizer:
    """AdamW over the parameters: one fused kernel where torch has it, 8-bit moments if the configuration asks.

    Raises:
        UsageError: 8-bit moments without bitsandbytes.
    """
    options = {"lr": config.learning_rate, "betas": config.betas, "weight_decay": config.weight_decay}
    if config.optimizer == "adamw":
        fused = parameters[0].device.type in ("cpu", "cuda")
        return torch.optim.AdamW(parameters, fused=fused, **options)  # type: ignore[arg-type]
    try:
        from bitsandbytes.optim import AdamW8bit  # type: ignore[import-not-found]
    except ImportError as error:
        raise UsageError(
            "the optimizer adamw8bit needs bitsandbytes",
            got=error,
            remedy="pip install bitsandbytes, or choose the optimizer adamw",
        ) from error
    return AdamW8bit(parameters, **options)  # type: ignore[no-any-return]


class Average:
    """Exponential average of a network's parameters, which is what validation sees and a stage exports.

    Args:
        network: averaged over its parameters; buffers are taken as they are.
        decay: of the average; smaller in the first steps, so that the initial weights are forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay = network, decay
        self.tensors = {name: value.detach().clone() for name, value in network.named_parameters()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number `step`, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        current = [value.detach() for value in self._network.parameters()]
        get_ema_multi_avg_fn(decay)(tuple(self.tensors.values()), tuple(current), step)

    @torch.no_grad()
    def settle(self) -> None:
        """Put the average into the network, for good."""
        for name, value in self._network.named_parameters():
            value.copy_(self.tensors[name])

    @contextmanager
    def lent(self) -> Iterator[None]:
        """The average is in the network while the context is open."""
        kept: dict[str, Tensor] = {name: value.detach().clone() for name, value in self._network.named_parameters()}
        self.settle()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in self._network.named_parameters():
                    value.copy_(kept[name])
