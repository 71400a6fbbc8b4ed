"""What is asked of a picture that the sampler has made: near the truth, alike, without a grid, and real-looking.

    L = |y' - y|_1 + w_g grid(y', y) + w_l lattice(y', y) + w_r period(y', y)
        + w_p LPIPS-VGG(y', y) + w_s statistics(y', y) + w_a texture(y')

The finishing stages use it: D_U's on single pictures, G_U's on the last frame of a sequence, the decoder's on all.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

from torch import Tensor, nn
from torch.nn import functional as F

from dgafvsr.errors import UsageError
from dgafvsr.training.adversarial import Critic
from dgafvsr.training.draws import Draws
from dgafvsr.training.perceptual import (
    PerceptualLoss,
    grid_loss,
    lattice_loss,
    period_loss,
    random_windows,
    statistics_loss,
)

__all__ = ["PictureLoss", "SamplerLoss", "check_weights"]

SMALLEST_WINDOW: Final = 16
"""Side in pixels that VGG halves four times to one."""

_CRITIC_SHARE: Final = 0.05
"""Weight of the critic's own loss: Adam does not mind it, and it leaves most of the clipped norm to the picture."""


@dataclass(frozen=True, kw_only=True)
class SamplerLoss:
    """Loss on decoded pictures."""

    perceptual_weight: float = 1.0
    """Weight of LPIPS-VGG beside L1."""

    perceptual_side: int = 96
    """Side in HR pixels of the window that LPIPS and the critic see, to save time."""

    grid_weight: float = 5.0
    """Weight of `grid_loss`; 0 leaves it out."""

    lattice_weight: float = 0.0
    """Weight of `lattice_loss`; 0 leaves it out."""

    period_weight: float = 0.0
    """Weight of `period_loss`; 0 leaves it out."""

    statistics_weight: float = 0.0
    """Weight of `statistics_loss`, on the features of LPIPS; 0 leaves it out."""

    adversarial_weight: float = 0.0
    """Weight of the critic's texture loss; 0 trains no critic. Without these three no VGG is needed."""

    gradient_steps: int | None = None
    """Gradients flow through this many last sampler steps; None is all."""

    def __post_init__(self) -> None:
        check_weights(self)
        if self.gradient_steps is not None and self.gradient_steps < 1:
            raise UsageError("gradient_steps is too small", got=self.gradient_steps, expected="at least 1, or null")


def check_weights(loss: Any) -> None:
    """Refuse a loss with a negative weight, a share that is none, or a window too small for VGG.

    Args:
        loss: a dataclass whose fields are told by their endings: `_weight`, `_share` and `_side`.

    Raises:
        UsageError: a field is out of range.
    """
    for name, value in ((field.name, getattr(loss, field.name)) for field in fields(loss)):
        if name.endswith("_weight") and value < 0:
            raise UsageError(f"{name} is out of range", got=value, expected="0 or more")
        if name.endswith("_share") and not 0 <= value <= 1:
            raise UsageError(f"{name} is out of range", got=value, expected="0 to 1")
        if name.endswith("_side") and value < SMALLEST_WINDOW:
            raise UsageError(f"{name} is too small", got=value, expected=f"at least {SMALLEST_WINDOW} pixels")


class PictureLoss(nn.Module):
    """The loss above, with the critic that learns beside the picture.

    Args:
        weights: of its terms.

    Attributes:
        critic: to be moved by the optimiser and kept in checkpoints, or None.
    """

    critic: Critic | None

    def __init__(self, weights: SamplerLoss) -> None:
        super().__init__()
        self.weights = weights
        looks = max(weights.perceptual_weight, weights.statistics_weight, weights.adversarial_weight) > 0
        self.perceptual = PerceptualLoss() if looks else None
        self.critic = Critic() if weights.adversarial_weight > 0 else None

    def forward(self, output: Tensor, target: Tensor, draws: Draws) -> dict[str, Tensor]:
        """Losses of N 3 4h 4w pictures in [-1, 1] -> loss and, where they count, its terms and the critic's own."""
        weights = self.weights
        losses = {"l1": F.l1_loss(output, target), "grid": grid_loss(output, target)}
        total = losses["l1"] + weights.grid_weight * losses["grid"]
        if weights.lattice_weight > 0:
            losses["lattice"] = lattice_loss(output, target)
            total = total + weights.lattice_weight * losses["lattice"]
        if weights.period_weight > 0:
            losses["period"] = period_loss(output, target)
            total = total + weights.period_weight * losses["period"]
        if self.perceptual is not None:
            made, real = random_windows(output, target, side=weights.perceptual_side, draws=draws)
            made_features, real_features = self.perceptual.features(made), self.perceptual.features(real)
            losses["lpips"] = self.perceptual.distance(made_features, real_features)
            total = total + weights.perceptual_weight * losses["lpips"]
            if weights.statistics_weight > 0:
                losses["statistics"] = statistics_loss(made_features, real_features)
                total = total + weights.statistics_weight * losses["statistics"]
            if self.critic is not None:
                terms = self.critic.terms(made_features, real_features)
                losses |= {"texture": terms.texture, "critic": terms.critic}
                total = total + weights.adversarial_weight * terms.texture + _CRITIC_SHARE * terms.critic
        return {**losses, "loss": total}
