"""LPIPS and DISTS: distances between pictures in the features of a network (torchmetrics' implementations).

The linear heads ship with torchmetrics; the backbones are torchvision's AlexNet and VGG16, taken from the torch hub
cache or downloaded there at first use. Where neither works the metric raises `MetricUnavailableError`, and tables say
so.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torchvision.models import AlexNet_Weights, VGG16_Weights  # type: ignore[import-untyped]

from dgafvsr.errors import ModelError
from dgafvsr.evaluation.metrics import check_pictures

__all__ = ["MetricUnavailableError", "PerceptualDistance", "PerceptualName", "backbone_file"]

PerceptualName = Literal["lpips", "dists"]


class MetricUnavailableError(ModelError):
    """A metric whose weights, or whose package, cannot be had on this machine.

    Args:
        what: as in every error of ours.
        short: the same in two words.
        **details: got, expected and remedy.
    """

    def __init__(self, what: str, *, short: str = "no weights", **details: Any) -> None:
        super().__init__(what, **details)
        self.short = short


class PerceptualDistance:
    """LPIPS (AlexNet) or DISTS (VGG16) with its network, loaded once.

    Nearly all of DISTS's time goes into VGG16, so the features of the last ground truth are kept for the next
    prediction that is compared with the same tensor, and pictures are laid out channels last, which oneDNN convolves
    about 1.5 times faster on one core. Numbers stay the same but for rounding.

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
        network = network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = cast(Any, network.requires_grad_(False).eval())
        self._options = {"normalize": True} if name == "lpips" else {}
        self._truth: tuple[Tensor, Tensor] | None = None  # as it came, and as the network sees it
        if name == "dists":
            self._network.forward_once = _TruthRemembered(self._network.forward_once, self._is_truth)

    @torch.no_grad()
    def __call__(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """The distance of each pair.

        Args:
            prediction: N 3 H W float in [0, 1].
            truth: N 3 H W float in [0, 1]; several predictions of it cost less if they come one after the other with
                the same tensor.

        Returns:
            N, float32, on `device`; 0 for equal pictures.

        Raises:
            InputError: the pictures cannot be compared.
        """
        check_pictures(prediction, truth, metric=self.name)
        if self._truth is None or self._truth[0] is not truth:
            self._truth = truth, self._seen(truth)
        distance: Tensor = self._network(self._seen(prediction), self._truth[1], **self._options)
        return distance.reshape(len(prediction))

    def _seen(self, pictures: Tensor) -> Tensor:
        return pictures.to(self.device, torch.float32).contiguous(memory_format=torch.channels_last)

    def _is_truth(self, pictures: Tensor) -> bool:
        return self._truth is not None and pictures is self._truth[1]


class _TruthRemembered:
    """DISTS's feature pyramid of pictures; that of the last ground truth is not computed again."""

    def __init__(self, compute: Callable[[Tensor], list[Tensor]], is_truth: Callable[[Tensor], bool]) -> None:
        self._compute, self._is_truth = compute, is_truth
        self._last: tuple[Tensor, list[Tensor]] | None = None

    def __call__(self, pictures: Tensor) -> list[Tensor]:
        if not self._is_truth(pictures):
            return self._compute(pictures)
        if self._last is None or self._last[0] is not pictures:
            self._last = pictures, self._compute(pictures)
        return self._last[1]


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
