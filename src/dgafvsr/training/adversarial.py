"""A critic for texture: what L1 and LPIPS leave soft, because no single texture is right, it asks to look real.

    L_critic    = mean max(0, 1 - D(real)) + mean max(0, 1 + D(fake))       D learns, the picture is held
    L_texture   = -mean D(fake)                                             the picture learns, D is held

D is a projected discriminator (Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021): small convolutional heads
on frozen VGG features, here the ones that LPIPS has computed anyway. Features of a pretrained network make it learn in
hundreds of steps instead of tens of thousands, and heads on the finest features see a repeated 4 x 4 pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["FEATURE_CHANNELS", "AdversarialTerms", "Critic"]

FEATURE_CHANNELS: Final = (64, 128, 256)
"""Channels of VGG16's relu1_2, relu2_2 and relu3_3, at 1, 1/2 and 1/4 of the picture's size."""

_FEATURE_NORM: Final = 4.0
"""Length that features are brought to at every position, so that heads start with logits near one."""


@dataclass(frozen=True, kw_only=True)
class AdversarialTerms:
    """Both sides' losses; their sum may be minimised by one optimiser, for neither moves the other's weights."""

    critic: Tensor
    """Hinge loss of the heads; no gradient reaches the picture. 2 is chance, 0 is perfect."""

    texture: Tensor
    """What the picture has to lower; no gradient reaches the heads."""


class Critic(nn.Module):
    """Patch-wise real or made, one head for each feature map.

    Args:
        channels: of the feature maps.
        width: channels of the heads.
    """

    def __init__(self, channels: Sequence[int] = FEATURE_CHANNELS, width: int = 64) -> None:
        super().__init__()
        self.heads = nn.ModuleList(_head(count, width) for count in channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Logits of each map, N 1 H W; positive means real. Further maps than there are heads are ignored."""
        maps = list(zip(self.heads, features, strict=False))
        return [head(_FEATURE_NORM * F.normalize(feature.float(), dim=1, eps=1e-2)) for head, feature in maps]

    def terms(self, fake: Sequence[Tensor], real: Sequence[Tensor]) -> AdversarialTerms:
        """Losses of made and of real pictures' features, N C H W each."""
        told = zip(self([f.detach() for f in fake]), self([r.detach() for r in real]), strict=True)
        critic = torch.stack([F.relu(1 + f).mean() + F.relu(1 - r).mean() for f, r in told]).mean()
        self.requires_grad_(False)
        try:
            texture = -torch.stack([f.mean() for f in self(fake)]).mean()
        finally:
            self.requires_grad_(True)
        return AdversarialTerms(critic=critic, texture=texture)


def _head(channels: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, size in ((channels, 1), (width, 3), (width, 3)):
        layers += [spectral_norm(nn.Conv2d(inputs, width, size, padding=size // 2)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(width, 1, 1)))
