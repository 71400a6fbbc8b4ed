"""Stages that train in milliseconds, also in processes of their own."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from dgafvsr.training.stage import Stage, by_noise_level
from dgafvsr.training.trainer import TrainerConfig

CONFIG = TrainerConfig(
    steps=6, batch_size=4, learning_rate=1e-2, warmup_steps=2, precision="no", checkpoint_every=2, log_every=1
)


class Numbers(Dataset[dict[str, torch.Tensor]]):
    """Sample `index` is a function of the index alone; `seen` records the order."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        self.seen.append(index)
        return {"x": torch.randn(5, generator=torch.Generator().manual_seed(index))}


class PictureNumbers(Numbers):
    """The same as pictures, 3 6 5."""

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        self.seen.append(index)
        return {"x": torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(index))}


class ConvolutionStage(Stage):
    """A convolution whose weights lie in channels-last order, as those of every real stage do."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.trained = nn.Conv2d(3, 3, 3, padding=1).to(memory_format=torch.channels_last)
        self.data = PictureNumbers()

    def forward(self, batch, draws):
        noise = draws.normal(*batch["x"].shape[1:]).to(batch["x"])
        return {"loss": F.mse_loss(self.trained(batch["x"] + 0.1 * noise).float(), batch["x"])}


class ToyStage(Stage):
    """A linear network that learns to give back what it reads through noise."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.trained = nn.Linear(5, 5)
        self.data = Numbers()
        self.scale = scale

    def forward(self, batch, draws):
        noise = draws.normal(*batch["x"].shape[1:]).to(batch["x"])
        output = self.trained(batch["x"] + 0.1 * noise)
        errors = F.mse_loss(output.float(), batch["x"], reduction="none").mean(dim=1) * self.scale
        return {"loss": errors.mean(), "by_level": by_noise_level(errors, draws.integers(1000), 1000)}
