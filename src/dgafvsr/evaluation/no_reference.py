"""MUSIQ, CLIP-IQA and NIQE: the quality of a picture by itself, no ground truth needed (pyiqa's implementations).

pyiqa is an optional extra under the PolyForm Noncommercial Licence 1.0.0 and the NTU S-Lab Licence 1.0: it may not be
used commercially. Its weights are downloaded at first use; where that fails the metric raises
`MetricUnavailableError`, and tables say so. NIQE needs no network but the statistics of natural pictures, 36 means and
their covariance; a local file of them serves instead of the download.

    MUSIQ      Ke et al., 2021; trained on KonIQ-10k; about 0 to 100, higher is better
    CLIP-IQA   Wang et al., 2023; 0 to 1, higher is better
    NIQE       Mittal et al., 2013; on luma, blocks of 96 x 96; lower is better
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgafvsr.errors import InputError
from dgafvsr.evaluation.metrics import METRICS, check_pictures
from dgafvsr.evaluation.perceptual import MetricUnavailableError

__all__ = ["QualityName", "QualityScore", "read_niqe_prior"]

QualityName = Literal["musiq", "clipiqa", "niqe"]

LICENCE = "pyiqa is under the PolyForm Noncommercial Licence 1.0.0"
HOSTS: Mapping[QualityName, str] = {
    "musiq": "huggingface.co",
    "clipiqa": "openaipublic.azureedge.net",
    "niqe": "huggingface.co",
}
"""Where pyiqa gets what it needs."""
MOVED = {"pkg_resources": "setuptools<82"}
"""Module -> what brings it, where the names differ: CLIP's package imports what setuptools 82 removed."""
FEATURES = 36
# Names of the mean and the covariance in BasicSR's .npz and in the authors' .mat file.
PRIOR_NAMES = (("mu_pris_param", "cov_pris_param"), ("mu_prisparam", "cov_prisparam"))


class QualityScore:
    """A no-reference metric with its network, loaded once.

    Args:
        name: which one.
        device: where it runs.
        niqe_prior: NIQE's natural-image statistics (.npz or .mat); None means pyiqa's, which are downloaded.

    Raises:
        MetricUnavailableError: pyiqa is not installed, or its weights are not here and cannot be fetched.
        InputError: the prior cannot be used.

    Example:
        >>> niqe = QualityScore("niqe", niqe_prior=Path("niqe_pris_params.npz"))  # doctest: +SKIP
        >>> niqe(torch.rand(2, 3, 192, 192)).shape                                # doctest: +SKIP
        torch.Size([2])
    """

    def __init__(
        self, name: QualityName, *, device: torch.device | str = "cpu", niqe_prior: Path | None = None
    ) -> None:
        self.name: QualityName = name
        self.device = torch.device(device)
        prior = read_niqe_prior(niqe_prior) if name == "niqe" and niqe_prior is not None else None
        try:
            self._network = _load(name, self.device, prior)
        except (OSError, RuntimeError, ImportError) as error:
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            raise MetricUnavailableError(
                f"{METRICS[name].title} needs the package {missing}"
                if missing
                else f"{METRICS[name].title} has no weights",
                short=f"no {missing}" if missing else "no weights",
                got=f"{type(error).__name__}: {error}",
                remedy=_remedy(name, missing),
            ) from error

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """The score of each picture.

        Args:
            pictures: N 3 H W float in [0, 1].

        Returns:
            N, float64, on the CPU.

        Raises:
            InputError: the pictures cannot be scored.
        """
        check_pictures(pictures, metric=self.name)
        scores = [self._network(picture[None].to(self.device, torch.float32)).reshape(()) for picture in pictures]
        return torch.stack(scores).cpu().double()


def read_niqe_prior(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """NIQE's natural-image statistics: mean 36 and covariance 36 x 36.

    Args:
        path: .npz (BasicSR's names) or .mat (the authors').

    Raises:
        InputError: the file cannot be read or holds something else.
    """
    try:
        held = _arrays(path)
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise InputError(f"{path} cannot be read as NIQE's prior", got=error, expected=".npz or .mat") from error
    for names in PRIOR_NAMES:
        if all(name in held for name in names):
            mean, covariance = (np.asarray(held[name], dtype=np.float64) for name in names)
            fits = mean.size == FEATURES and covariance.shape == (FEATURES, FEATURES)
            if fits and np.isfinite(mean).all() and np.isfinite(covariance).all():
                return mean.ravel(), covariance
    raise InputError(
        f"{path} does not hold NIQE's prior",
        got=", ".join(sorted(held)) or "nothing",
        expected=f"mu_pris_param ({FEATURES} numbers) and cov_pris_param ({FEATURES} x {FEATURES})",
    )


def _arrays(path: Path) -> Mapping[str, Any]:
    if path.suffix.lower() == ".mat":
        from scipy.io import loadmat  # type: ignore[import-untyped]

        return {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _load(
    name: QualityName, device: torch.device, prior: tuple[NDArray[np.float64], NDArray[np.float64]] | None
) -> torch.nn.Module:
    with contextlib.redirect_stdout(io.StringIO()):  # pyiqa prints what it downloads and loads
        from pyiqa import create_metric  # type: ignore[import-not-found]

        if prior is None:
            network: torch.nn.Module = create_metric(name, device=device)
            return network
        from scipy.io import savemat  # type: ignore[import-untyped]

        with tempfile.TemporaryDirectory(prefix="dgafvsr-") as folder:
            file = Path(folder, "prior.mat")  # the only form in which pyiqa takes one
            savemat(file, dict(zip(PRIOR_NAMES[1], prior, strict=True)))
            network = create_metric(name, device=device, pretrained_model_path=str(file))
            return network


def _remedy(name: QualityName, missing: str | None) -> str:
    if missing == "pyiqa":
        return f"pip install 'dgafvsr[iqa]' ({LICENCE}: no commercial use), or leave {name} out"
    if missing is not None:  # of what pyiqa itself is built on
        package = MOVED.get(missing, missing)
        return f"pip install '{package}', which pyiqa uses and did not bring, or leave {name} out"
    own = "give a prior (--niqe-prior FILE), " if name == "niqe" else ""
    return f"{own}run once with a connection to {HOSTS[name]}, or leave {name} out"
