"""D_U: the denoising U-Net that accepts guidance.

It *is* diffusers' `UNet2DConditionModel` (same configuration, weights and files); only `forward` walks the blocks
itself (`stages.py`), because dense guidance adds a residual after every single stage, places that the upstream forward
does not open. Without residuals the result equals the upstream network's bit for bit.

    z^i_{t-1} = D_U(<z^i_t, x^i>) + Conv0(G_U(<z^i_t, x^i, aligned>))      the paper's Eq. for FTCM
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel, UNet2DConditionOutput
from torch import Tensor

from dgafvsr.errors import ModelError
from dgafvsr.models.compiling import Compilable
from dgafvsr.models.deep_features import DeepFeatures
from dgafvsr.models.stages import embed_condition, walk_down, walk_mid, walk_up

__all__ = ["EncoderResiduals", "GuidanceResiduals", "GuidedUNet"]


@dataclass(frozen=True, kw_only=True)
class GuidanceResiduals:
    """What G_U adds to D_U: one tensor a stage (the paper's dense guidance).

    Attributes:
        down: residual of each down stage, in the order they run, N C_k h_k w_k.
        mid: residual of the mid block, N C h w; None of a G_U that computed its outermost level only, with the other
            residuals of that level alone.
        up: residual of each up stage, in the order they run, N C_k h_k w_k; empty for guidance that is not dense.
    """

    down: tuple[Tensor, ...]
    mid: Tensor | None
    up: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class EncoderResiduals:
    """What a ControlNet adds to D_U (StableVSR): to the skip connections and the mid output only.

    Attributes:
        skips: residual of each skip connection, conv_in's first, N C_k h_k w_k.
        mid: residual of the mid block, N C h w.
    """

    skips: tuple[Tensor, ...]
    mid: Tensor


class GuidedUNet(Compilable, UNet2DConditionModel):
    """diffusers' UNet2DConditionModel with a place for guidance at every stage.

    Attributes:
        fused_upsampling: whether doubling and convolution are one (`execution.py`); False is upstream's, bit for bit.
    """

    fused_upsampling = False

    def forward(  # type: ignore[override]
        self,
        sample: Tensor,
        timestep: Tensor | float | int,
        encoder_hidden_states: Tensor | None = None,
        class_labels: Tensor | None = None,
        residuals: GuidanceResiduals | EncoderResiduals | None = None,
        return_dict: bool = True,
        deep: DeepFeatures | None = None,
    ) -> UNet2DConditionOutput | tuple[Tensor]:
        """One denoising prediction.

        Args:
            sample: N C h w: noisy latent and LR frame, concatenated. Any h and w.
            timestep: the diffusion time t: a scalar, or N of them.
            encoder_hidden_states: N L D prompt embedding, or None for a network without cross-attention.
            class_labels: N noise levels, for checkpoints with a class embedding (stabilityai's SD-x4).
            residuals: dense guidance (FTCM), encoder guidance (ControlNet), or None for the plain denoiser.
            return_dict: False gives a tuple instead of an output object, as everywhere in diffusers.
            deep: filled if it is empty; if it is not, it stands for the lower levels, and residuals serve the
                outermost one only. None for a plain call.

        Returns:
            The network's prediction (epsilon, v or x0, as its scheduler says), N out h w.

        Raises:
            ModelError: the residuals do not fit this network.
        """
        dense = residuals if isinstance(residuals, GuidanceResiduals) else None
        encoder = residuals if isinstance(residuals, EncoderResiduals) else None
        emb = embed_condition(self, sample, timestep, class_labels)
        context: dict[str, Any] = {"encoder_hidden_states": encoder_hidden_states}

        kept = None if deep is None else deep.hidden
        inject = _Injector(dense.down) if dense is not None else _unchanged
        blocks = self.down_blocks if kept is None else self.down_blocks[:1]
        hidden, skips = walk_down(blocks, self.conv_in(sample), emb, context, inject)
        if encoder is not None:
            skips = [_add(skip, residual) for skip, residual in zip(skips, encoder.skips, strict=kept is None)]
        *inner, last = self.up_blocks
        outer = len(last.resnets)  # stages of the last up block, each of which reads a skip connection
        if kept is None:
            hidden = walk_mid(self.mid_block, hidden, emb, context)
            if residuals is not None:
                hidden = _add(hidden, residuals.mid)
            inject = _Injector(dense.up[:-outer]) if dense is not None and dense.up else _unchanged
            hidden = walk_up(inner, hidden, skips, emb, context, inject, fused=self.fused_upsampling)
            if deep is not None:
                deep.hidden = hidden
        else:
            hidden = kept
        inject = _Injector(dense.up[-outer:]) if dense is not None and dense.up else _unchanged
        hidden = walk_up([last], hidden, skips[:outer], emb, context, inject, fused=self.fused_upsampling)

        if self.conv_norm_out is not None:
            hidden = self.conv_act(self.conv_norm_out(hidden))
        prediction = self.conv_out(hidden)
        return UNet2DConditionOutput(sample=prediction) if return_dict else (prediction,)


def _unchanged(hidden: Tensor) -> Tensor:
    return hidden


class _Injector:
    """A `Stage` that adds the residuals one by one, in order."""

    def __init__(self, residuals: tuple[Tensor, ...]) -> None:
        self._left = list(residuals)

    def __call__(self, hidden: Tensor) -> Tensor:
        return _add(hidden, self._left.pop(0) if self._left else None)


def _add(hidden: Tensor, residual: Tensor | None) -> Tensor:
    if residual is None or residual.shape != hidden.shape:
        raise ModelError(
            "The guidance network does not fit the denoiser",
            got="no residual" if residual is None else f"a residual of shape {tuple(residual.shape)}",
            expected=f"shape {tuple(hidden.shape)} at this stage",
            remedy="use a guidance network that was built from this denoiser",
        )
    return hidden + residual
