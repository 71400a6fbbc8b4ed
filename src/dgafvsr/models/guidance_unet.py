"""G_U: the guidance network of FTCM, a full U-Net without attention.

It reads [noisy latent z_t, LR frame x, aligned latent of the neighbour] and gives D_U one residual for every stage,
each through a zero-initialised 1x1 convolution, so that an untrained G_U leaves D_U as it is. It has no output head.

Built from D_U: same widths, same number of resnets, weights of resnets, samplers and time embedding copied, attention
dropped. Its first convolution takes the denoiser's input channels plus the latent's, and starts as
[W_in, W_in of z_t]: the aligned latent enters like another noisy latent.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_blocks import DownBlock2D, UNetMidBlock2D, UpBlock2D
from torch import Tensor, nn

from dgafvsr.errors import ModelError
from dgafvsr.models.compiling import Compilable
from dgafvsr.models.deep_features import DeepFeatures
from dgafvsr.models.guided_unet import GuidanceResiduals, GuidedUNet
from dgafvsr.models.stages import walk_down, walk_mid, walk_up

__all__ = ["GuidanceUNet"]

LR_CHANNELS = 3


class GuidanceUNet(Compilable, ModelMixin, ConfigMixin):
    """The guidance U-Net G_U.

    Args:
        in_channels: channels of D_U's input, [z_t, LR].
        conditioning_channels: channels of the aligned latent.
        block_out_channels: width of each level, highest resolution first.
        layers_per_block: resnets a down block; up blocks have one more.
        mid_resnets: resnets of the mid block.
        norm_num_groups: groups of every GroupNorm.
        norm_eps: epsilon of every GroupNorm.
        act_fn: activation, by diffusers' name.
        downsample_padding: padding of the strided convolutions.
        flip_sin_to_cos: order of the time embedding's halves.
        freq_shift: shift of the time embedding's frequencies.
        num_class_embeds: noise levels, for denoisers with a class embedding; None for none.
        dense: residuals for every stage; False builds no decoder and guides D_U's encoder and mid block only (the
            paper's ablation).
        zero_condition: the aligned latent is read as zeros (a control: what the guidance gains by capacity alone).
        aligned_lr: the condition is the aligned latent and the neighbour's aligned LR frame, which differs from the
            current LR frame where the flow cannot be trusted.
        reliability: the condition's last channel is the flow's reliability, 1 where forward and backward flow agree.

    Attributes:
        fused_upsampling: whether doubling and convolution are one (`execution.py`).
    """

    fused_upsampling = False
    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        *,
        in_channels: int = 7,
        conditioning_channels: int = 4,
        block_out_channels: tuple[int, ...] = (256, 512, 512, 1024),
        layers_per_block: int = 2,
        mid_resnets: int = 2,
        norm_num_groups: int = 32,
        norm_eps: float = 1e-5,
        act_fn: str = "silu",
        downsample_padding: int = 1,
        flip_sin_to_cos: bool = True,
        freq_shift: float = 0,
        num_class_embeds: int | None = None,
        dense: bool = True,
        zero_condition: bool = False,
        aligned_lr: bool = False,
        reliability: bool = False,
    ) -> None:
        super().__init__()
        widths = tuple(block_out_channels)
        time_width = widths[0] * 4
        condition = conditioning_channels + (LR_CHANNELS if aligned_lr else 0) + int(reliability)
        self.conv_in = nn.Conv2d(in_channels + condition, widths[0], 3, padding=1)
        self.time_proj = Timesteps(widths[0], flip_sin_to_cos, freq_shift)
        self.time_embedding = TimestepEmbedding(widths[0], time_width, act_fn=act_fn)
        self.class_embedding = None if num_class_embeds is None else nn.Embedding(num_class_embeds, time_width)

        resnet: dict[str, Any] = {
            "temb_channels": time_width,
            "resnet_eps": norm_eps,
            "resnet_act_fn": act_fn,
            "resnet_groups": norm_num_groups,
        }
        self.down_blocks = _down_blocks(widths, layers_per_block, downsample_padding, resnet)
        self.mid_block = UNetMidBlock2D(
            in_channels=widths[-1],
            num_layers=mid_resnets - 1,  # diffusers counts the layers after the first resnet
            add_attention=False,
            attention_head_dim=widths[-1],
            **resnet,
        )
        self.up_blocks = _up_blocks(widths, layers_per_block + 1, resnet) if dense else None
        down_widths, up_widths = _stage_widths(widths, layers_per_block)
        self.zero_down = nn.ModuleList(_zero_convolution(width) for width in down_widths)
        self.zero_mid = _zero_convolution(widths[-1])
        self.zero_up = nn.ModuleList(_zero_convolution(width) for width in up_widths if dense)

    @classmethod
    def from_denoiser(
        cls,
        denoiser: GuidedUNet,
        conditioning_channels: int = 4,
        *,
        dense: bool = True,
        zero_condition: bool = False,
        aligned_lr: bool = False,
        reliability: bool = False,
    ) -> GuidanceUNet:
        """G_U with the denoiser's shape and weights, and zero convolutions (Sec. FTCM).

        Args:
            denoiser: D_U; it is not changed and shares no memory with the result.
            conditioning_channels: channels of the aligned latent; they start as copies of the z_t channels, the first
                of D_U's input.
            dense: see the class.
            zero_condition: see the class.
            aligned_lr: see the class; the weights of the aligned LR frame start at zero.
            reliability: see the class; its weights start at zero.

        Raises:
            ModelError: the denoiser is of a kind that cannot be copied.
        """
        config = denoiser.config
        layers = config.layers_per_block
        if not isinstance(layers, int) or denoiser.mid_block is None or config.class_embeddings_concat:
            raise ModelError(
                "No guidance network can be built from this denoiser",
                got=f"layers_per_block={layers}, mid block: {denoiser.mid_block is not None}",
                expected="the same number of layers in every block, and a mid block",
            )
        guidance = cls(
            in_channels=config.in_channels,
            conditioning_channels=conditioning_channels,
            block_out_channels=tuple(config.block_out_channels),
            layers_per_block=layers,
            mid_resnets=len(denoiser.mid_block.resnets),
            norm_num_groups=config.norm_num_groups,
            norm_eps=config.norm_eps,
            act_fn=config.act_fn,
            downsample_padding=config.downsample_padding,
            flip_sin_to_cos=config.flip_sin_to_cos,
            freq_shift=config.freq_shift,
            num_class_embeds=config.num_class_embeds,
            dense=dense,
            zero_condition=zero_condition,
            aligned_lr=aligned_lr,
            reliability=reliability,
        ).to(dtype=denoiser.dtype, device=denoiser.device)
        guidance._copy_from(denoiser)
        return guidance

    @torch.no_grad()
    def _copy_from(self, denoiser: GuidedUNet) -> None:
        theirs = denoiser.state_dict()
        own = self.state_dict()
        for name, tensor in own.items():
            if name == "conv_in.weight":
                first = theirs[name]
                extra = first[:, : self.config.conditioning_channels]
                blank = first.new_zeros(len(first), tensor.shape[1] - first.shape[1] - extra.shape[1], *first.shape[2:])
                tensor.copy_(torch.cat([first, extra, blank], dim=1))
            elif not name.startswith("zero_"):
                tensor.copy_(theirs[name])

    def forward(
        self,
        latents: Tensor,
        lr: Tensor,
        aligned: Tensor,
        timestep: Tensor | float | int,
        class_labels: Tensor | None = None,
        deep: DeepFeatures | None = None,
    ) -> GuidanceResiduals:
        """Residuals for every stage of D_U.

        Args:
            latents: noisy latents z_t, N 4 h w, any h and w.
            lr: LR frames in [-1, 1], N 3 h w.
            aligned: the neighbour's x0 estimate after OGWM, N 4 h w; with `aligned_lr` followed by its LR frame after
                OGWM, N 7 h w.
            timestep: the diffusion time t: a scalar, or N of them.
            class_labels: N noise levels, as D_U gets them.
            deep: filled if it is empty; if it is not, it stands for the lower levels. None for a plain call.

        Returns:
            The residuals, in the order D_U's stages run; none for the decoder unless `dense`, those of the outermost
            level alone if `deep` was filled.
        """
        if self.config.zero_condition:
            aligned = torch.zeros_like(aligned)
        sample = torch.cat([latents, lr, aligned], dim=1)
        emb = self._embed(sample, timestep, class_labels)
        taps: list[Tensor] = []

        def tap(hidden: Tensor) -> Tensor:
            taps.append(hidden)
            return hidden

        kept = None if deep is None else deep.hidden
        blocks = self.down_blocks if kept is None else self.down_blocks[:1]
        hidden, skips = walk_down(blocks, self.conv_in(sample), emb, {}, tap)
        down = _through(self.zero_down[: len(taps)], taps)
        mid = None
        taps.clear()
        if kept is None:
            hidden = walk_mid(self.mid_block, hidden, emb, {})
            mid = self.zero_mid(hidden)
            if self.up_blocks is not None:
                inner = list(self.up_blocks)[:-1]
                hidden = walk_up(inner, hidden, skips, emb, {}, tap, fused=self.fused_upsampling)
            if deep is not None:
                deep.hidden = hidden
        else:
            hidden = kept
        if self.up_blocks is not None:
            last: Any = self.up_blocks[-1]
            walk_up([last], hidden, skips[: len(last.resnets)], emb, {}, tap, fused=self.fused_upsampling)
        up = _through(self.zero_up[len(self.zero_up) - len(taps) :], taps)
        return GuidanceResiduals(down=down, mid=mid, up=up)

    def _embed(self, sample: Tensor, timestep: Tensor | float | int, class_labels: Tensor | None) -> Tensor:
        times = torch.as_tensor(timestep, device=sample.device).expand(sample.shape[0])
        emb = self.time_embedding(self.time_proj(times).to(sample.dtype))
        if self.class_embedding is None:
            return emb
        if class_labels is None:
            raise ModelError("This guidance network needs noise levels", expected="class_labels, as the denoiser gets")
        return emb + self.class_embedding(class_labels).to(sample.dtype)


def _through(convolutions: nn.ModuleList, taps: list[Tensor]) -> tuple[Tensor, ...]:
    return tuple(convolution(tap) for convolution, tap in zip(convolutions, taps, strict=True))


def _zero_convolution(width: int) -> nn.Conv2d:
    convolution = nn.Conv2d(width, width, 1)
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution


def _down_blocks(widths: tuple[int, ...], layers: int, padding: int, resnet: dict[str, Any]) -> nn.ModuleList:
    return nn.ModuleList(
        DownBlock2D(
            in_channels=widths[max(level - 1, 0)],
            out_channels=width,
            num_layers=layers,
            add_downsample=level < len(widths) - 1,
            downsample_padding=padding,
            **resnet,
        )
        for level, width in enumerate(widths)
    )


def _up_blocks(widths: tuple[int, ...], layers: int, resnet: dict[str, Any]) -> nn.ModuleList:
    rising = widths[::-1]
    return nn.ModuleList(
        UpBlock2D(
            in_channels=rising[min(level + 1, len(rising) - 1)],
            prev_output_channel=rising[max(level - 1, 0)],
            out_channels=width,
            num_layers=layers,
            add_upsample=level < len(rising) - 1,
            **resnet,
        )
        for level, width in enumerate(rising)
    )


def _stage_widths(widths: tuple[int, ...], layers: int) -> tuple[list[int], list[int]]:
    """Channels of every down and up stage, in the order they run."""
    last = len(widths) - 1
    down = [widths[0]]
    for level, width in enumerate(widths):
        down += [width] * (layers + (level < last))
    up: list[int] = []
    for level, width in enumerate(widths[::-1]):
        up += [width] * (layers + 1 + (level < last))
    return down, up
