"""LPIPS and DISTS: distances between pictures in the features of a network (torchmetrics' implementations).

The linear heads ship with torchmetrics; the backbones are torchvision's AlexNet and VGG16, taken from the torch hub
cache or downloaded there at first use. Where neither works the metric raises `MetricUnavailableError`, and tables say
so.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models import AlexNet_Weights, VGG16_Weights  # type: ignore[import-untyped]

from dgafvsr.errors import ModelError
from dgafvsr.evaluation.metrics import check_pictures

__all__ = ["MetricUnavailableError", "PerceptualDistance", "PerceptualName", "backbone_file"]

PerceptualName = Literal["lpips", "dists"]


class MetricUnavailableError(ModelError):
    """A metric whose weights cannot be had on this machine."""


class PerceptualDistance:
    """LPIPS (AlexNet) or DISTS (VGG16) with its network, loaded once.

    Args:
        name: which of the two.
        device: where the network runs and pictures are moved to.

    Raises:
        MetricUnavailableError: its weights are not here and cannot be fetched.

    Example:
        >>> lpips = PerceptualDistance("lpips")                                   # doctest: +SKIP
        >>> lpips(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)).shape       # doctest: +SKIP
        torch.Size([2])
    """

    def __init__(self, name: PerceptualName, *, device: torch.device | str = "cpu") -> None:
        self.name: PerceptualName = name
        self.device = torch.device(device)
        try:
            network = _lpips_network() if name == "lpips" else _dists_network()
        except (OSError, RuntimeError, ImportError) as error:
            file = backbone_file(name)
            raise MetricUnavailableError(
                f"{name.upper()} has no weights",
                got=f"{type(error).__name__}: {error}",
                expected=f"{file.name} in {file.parent}, or a connection to download.pytorch.org",
                remedy=f"put {file.name} there, or leave {name} out",
            ) from error
        self._network = network.to(self.device).requires_grad_(False).eval()
        self._options = {"normalize": True} if name == "lpips" else {}

    @torch.no_grad()
    def __call__(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """The distance of each pair.

        Args:
            prediction: N 3 H W float in [0, 1].
            truth: N 3 H W float in [0, 1].

        Returns:
            N, float32, on `device`; 0 for equal pictures.

        Raises:
            InputError: the pictures cannot be compared.
        """
        check_pictures(prediction, truth, metric=self.name)
        pair = (pictures.to(self.device, torch.float32) for pictures in (prediction, truth))
        distance: Tensor = self._network(*pair, **self._options)
        return distance.reshape(len(prediction))


def backbone_file(name: PerceptualName) -> Path:
    """Where torchvision keeps the backbone of that metric; it need not be there."""
    weights = AlexNet_Weights.IMAGENET1K_V1 if name == "lpips" else VGG16_Weights.IMAGENET1K_V1
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name


def _lpips_network() -> nn.Module:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    network: nn.Module = LearnedPerceptualImagePatchSimilarity(net_type="alex").net
    return network


def _dists_network() -> nn.Module:
    from torchmetrics.functional.image.dists import DISTSNetwork

    build: Callable[[], nn.Module] = DISTSNetwork
    return build()
