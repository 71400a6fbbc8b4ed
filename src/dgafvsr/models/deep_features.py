"""Deep features of a U-Net, kept from one step to the next (DeepCache, Ma et al., CVPR 2024).

What the lower levels of a U-Net give changes slowly from step to step. A network that is called with a filled
`DeepFeatures` computes its outermost level only: the first down block, and the last up block on the feature that the
lower levels gave at an earlier step.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["DeepFeatures"]


@dataclass(kw_only=True, eq=False)
class DeepFeatures:
    """A place for what the lower levels of one network gave for one frame; the network fills it when it is empty.

    Attributes:
        hidden: what enters the last up block, N C h w of the input's size (the mid block's output for a network
            without a decoder); None while empty. 512 channels for SD-x4, 96 for the packaged model.
    """

    hidden: Tensor | None = None
