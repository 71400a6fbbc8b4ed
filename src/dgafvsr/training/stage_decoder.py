"""Stage 4: the decoder, finished on the latents that the sampler really gives it.

Until here the decoder knows the latents of its own encoder. Those of the few-step sampler are another distribution,
and what the decoder does not know it shows as a lattice of its 4 x 4 cells. D_U and G_U are frozen, so the method is
untouched and no gradient has to pass through them: the cheapest of all stages.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.sampling.ogwm import warp
from dgafvsr.training.draws import Draws
from dgafvsr.training.objective import unrolled_guided
from dgafvsr.training.picture_loss import PictureLoss
from dgafvsr.training.stage import ClipSampler, Stage
from dgafvsr.training.stage_guidance import GuidanceNetwork, GuidedSamplerLoss, Surroundings

__all__ = ["DecoderStage", "grow"]


def grow(autoencoder: ResidualAutoencoder, *, detail_blocks: int, fine_width: int) -> ResidualAutoencoder:
    """A copy with further layers at the decoder's end, which start as the identity.

    Args:
        autoencoder: stays as it is.
        detail_blocks: of the copy; at least those that there are.
        fine_width: of the copy; the same as before where there is a correction already.
    """
    config = {name: value for name, value in autoencoder.config.items() if not name.startswith("_")}
    grown = ResidualAutoencoder(**{**config, "detail_blocks": detail_blocks, "fine_width": fine_width})
    own = grown.state_dict()
    grown.load_state_dict({**own, **autoencoder.state_dict()})
    return grown


class DecoderStage(Stage):
    """The autoencoder's decoder learns on guided and unguided frames; its encoder, D_U and G_U do not.

    Args:
        autoencoder: its encoder keeps its weights.
        network: the finished guidance network.
        around: the frozen rest; its autoencoder is the one that learns.
        data: sequences of two frames: `hr`, `lr` and `flow`.
        loss: weights.
    """

    trained: ResidualAutoencoder

    def __init__(
        self,
        autoencoder: ResidualAutoencoder,
        network: GuidanceNetwork,
        around: Surroundings,
        data: Dataset[dict[str, Tensor]],
        loss: GuidedSamplerLoss,
    ) -> None:
        super().__init__()
        self.trained = autoencoder.to(memory_format=torch.channels_last)
        autoencoder.encoder.requires_grad_(False)
        self.denoiser = around.denoiser.requires_grad_(False).to(memory_format=torch.channels_last)
        self.network = network.requires_grad_(False).to(memory_format=torch.channels_last)
        self.around, self.data, self.weights = around, data, loss
        self.guidance = around.guidance(network)
        self.loss = PictureLoss(loss)

    @property
    def critic(self) -> nn.Module | None:
        """The picture's, if it has one."""
        return self.loss.critic

    def samplers(self) -> dict[str, ClipSampler]:
        """The model with its guidance `on` and `off`."""
        return {"on": self.around.rollout(self.guidance), "off": self.around.rollout(None)}

    def forward(self, batch: dict[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Losses of pairs: hr N 2 3 4h 4w, lr N 2 3 h w in [-1, 1], flow N 1 2 4h 4w -> the losses.

        The first frame of a pair is unguided, the second guided by it.
        """
        hr, lr, flow = batch["hr"], batch["lr"], batch["flow"]
        with torch.no_grad():
            latents = unrolled_guided(
                self.denoiser,
                self.guidance,
                self.around.diffusion,
                lr=lr,
                flow=flow,
                noise=self.weights.noise(lr, flow, self.denoiser.config.out_channels, draws),
            )
        output = LatentCodec(self.trained).decode(latents.flatten(0, 1), lr.flatten(0, 1)).unflatten(0, hr.shape[:2])
        pictures = [self.loss(output[:, k], hr[:, k], draws) for k in range(hr.shape[1])]
        losses = {name: sum(part[name] for part in pictures) / len(pictures) for name in pictures[0]}
        if self.weights.temporal_weight > 0:
            errors = output - hr
            losses["temporal"] = F.l1_loss(errors[:, 1], warp(errors[:, 0], flow[:, 0, :2], "centered"))
            losses["loss"] = losses["loss"] + self.weights.temporal_weight * losses["temporal"]
        return losses
