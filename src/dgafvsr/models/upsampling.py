"""Doubling by repetition and the 3x3 convolution behind it, as one transposed convolution.

Of the 3 x 3 pixels that the convolution reads after the doubling, several are copies of one another, so it multiplies
the same value two or four times. Added up beforehand, its weights are a 4 x 4 kernel of a transposed convolution of
stride 2 on the image before the doubling:

    conv(repeat(x); w) = conv_transpose(x; w'),    w' = w (*) [[1, 1], [1, 1]]       (*) full convolution, flipped

4 instead of 9 multiplications an output pixel. Zero padding means the same in both, up to the border.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["can_fuse", "double_and_convolve", "transposed_kernel"]

WIDEST = 128
"""Channels up to which it is faster: oneDNN's transposed convolution of 512 or 1024 is slower than the plain one."""

_KERNELS: WeakKeyDictionary[nn.Module, tuple[tuple[Any, ...], Tensor]] = WeakKeyDictionary()
"""Of each convolution, with the state of the weight that it was made of."""


def can_fuse(upsampler: nn.Module) -> bool:
    """Whether it is diffusers' doubling by repetition with a plain 3x3 convolution, of a width that gains by it."""
    if not isinstance(upsampler, Upsample2D) or upsampler.norm is not None or not upsampler.interpolate:
        return False
    if not upsampler.use_conv or upsampler.use_conv_transpose or upsampler.channels > WIDEST:
        return False
    return _is_plain(_convolution(upsampler))


def double_and_convolve(upsampler: Upsample2D, hidden: Tensor) -> Tensor:
    """What `upsampler(hidden)` gives, N C h w -> N C' 2h 2w, rounding apart, for one that `can_fuse`."""
    convolution = _convolution(upsampler)
    return F.conv_transpose2d(hidden, _kernel(convolution), convolution.bias, stride=2, padding=1)


def transposed_kernel(weight: Tensor) -> Tensor:
    """The kernel C C' 4 4 of the transposed convolution, of a convolution's weight C' C 3 3; added up in float32."""
    flipped = weight.float().flip(-2, -1).transpose(0, 1).contiguous()
    kernel = sum(F.pad(flipped, (x, 1 - x, y, 1 - y)) for y in (0, 1) for x in (0, 1))
    assert isinstance(kernel, Tensor)
    return kernel.to(weight.dtype).contiguous(memory_format=torch.channels_last)


def _kernel(convolution: nn.Conv2d) -> Tensor:
    """Kept until the weight becomes another tensor or is written to."""
    weight = convolution.weight
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or weight.is_inference():
        return transposed_kernel(weight)
    state = (weight.data_ptr(), weight._version, weight.dtype, weight.device)
    kept = _KERNELS.get(convolution)
    if kept is None or kept[0] != state:
        with torch.inference_mode(False), torch.no_grad():  # an ordinary tensor, whoever asks first
            kept = _KERNELS[convolution] = (state, transposed_kernel(weight))
    return kept[1]


def _convolution(upsampler: Any) -> Any:
    return upsampler.conv if upsampler.name == "conv" else upsampler.Conv2d_0


def _is_plain(convolution: Any) -> bool:
    return (
        isinstance(convolution, nn.Conv2d)
        and convolution.kernel_size == (3, 3)
        and convolution.padding == (1, 1)
        and convolution.stride == (1, 1)
        and convolution.dilation == (1, 1)
        and convolution.groups == 1
        and convolution.padding_mode == "zeros"
    )
