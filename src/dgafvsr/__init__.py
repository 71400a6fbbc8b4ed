"""DGAF-VSR: diffusion-based x4 video super-resolution with dense guidance from aligned features.

The one name most programs need is `DGAFVSRPipeline`; it is loaded when it is first asked for, so that importing the
package costs nothing.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dgafvsr.pipeline import DGAFVSRPipeline, UpscaledFrames

__all__ = ["DGAFVSRPipeline", "UpscaledFrames", "__version__"]

__version__ = version("dgafvsr")


def __getattr__(name: str) -> Any:
    if name in {"DGAFVSRPipeline", "UpscaledFrames"}:
        return getattr(importlib.import_module("dgafvsr.pipeline"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
