"""What a recipe says, as typed data: one class for each kind of training."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from dgafvsr.errors import UsageError
from dgafvsr.flow.estimator import FlowEstimatorName
from dgafvsr.sampling.noise import InitialNoise
from dgafvsr.sampling.ogwm import Convention, Rescaling
from dgafvsr.sampling.sweeps import Turns
from dgafvsr.training.data.degradations import check_fault_shares
from dgafvsr.training.data.samples import SequenceSettings
from dgafvsr.training.picture_loss import SamplerLoss
from dgafvsr.training.settings import TrainerConfig
from dgafvsr.training.stage_autoencoder import AutoencoderLoss
from dgafvsr.training.stage_guidance import GuidedSamplerLoss
from dgafvsr.training.validation import ScoringSettings

__all__ = [
    "AblationRecipe",
    "AutoencoderRecipe",
    "BaseGuidanceRecipe",
    "DecoderRecipe",
    "DenoiserRecipe",
    "Domain",
    "FinetuneRecipe",
    "GuidanceRecipe",
    "ModelRecipe",
    "Recipe",
]

TIMESTEPS = 1000
"""Of the forward process of every model here; a sampler takes some of them."""

Domain = Literal["features", "pixels"]
"""Where the neighbour is aligned: the paper's latents (G_U), or StableVSR's decoded frames (a ControlNet)."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderRecipe:
    """Stage 1."""

    trainer: TrainerConfig
    loss: AutoencoderLoss

    side: int
    """HR side of the crops in pixels."""

    fault_share: float
    """Share of crops with a mildly degraded LR frame, 0 to 1."""

    width: int
    encoder_blocks: int
    decoder_blocks: int
    detail_width: int

    realistic_share: float = 0.0
    """Share of crops with a strongly degraded LR frame, 0 to 1 - fault_share."""

    def __post_init__(self) -> None:
        _check_shares(self)


@dataclass(frozen=True, kw_only=True)
class DenoiserRecipe:
    """Stage 2."""

    velocity: TrainerConfig | None
    """Squared error on v; None leaves it out."""

    sampler: TrainerConfig | None
    """Loss on the unrolled sampler's picture; None leaves it out."""

    sampler_loss: SamplerLoss
    side: int
    fault_share: float

    sampler_share: float
    """Share of the timesteps of `velocity` that are the default sampler's own, 0 to 1."""

    sampler_steps: int
    """Steps of the default sampler."""

    block_out_channels: tuple[int, ...]
    layers_per_block: int
    norm_num_groups: int

    texture: TrainerConfig | None = None
    """The same once more with a critic, which needs a network that is nearly done; None leaves it out."""

    texture_loss: SamplerLoss = field(default_factory=SamplerLoss)
    """Of `texture`."""

    realistic_share: float = 0.0
    """As in `AutoencoderRecipe`; for sequences it is a field of theirs."""

    def __post_init__(self) -> None:
        _check_shares(self)
        _check_steps(self.sampler_steps)


@dataclass(frozen=True, kw_only=True)
class GuidanceRecipe:
    """Stage 3."""

    velocity: TrainerConfig | None
    """The authors' step; None leaves it out."""

    sampler: TrainerConfig | None
    """Loss on the unrolled guided sampler's picture; None leaves it out."""

    sampler_loss: GuidedSamplerLoss

    pairs: SequenceSettings
    """Material of `velocity`."""

    sequences: SequenceSettings
    """Material of `sampler`."""

    warp: Convention

    shared_noise_share: float
    """Share of pairs whose frames have the same noise in `velocity`, 0 to 1; the authors' is 0."""

    sampler_share: float
    """Share of the timesteps of `velocity` that are the default sampler's own, 0 to 1; the authors' is 0."""

    sampler_steps: int
    """Steps of the default sampler; also written into the model."""

    initial_noise: InitialNoise
    """How the model's frames start by default; written into the model."""

    turns: Turns = "unguided"
    """Whether the model guides the first frame of a sweep; the authors' does not. Sampling only; written into it."""

    transported_noise_share: float = 0.0
    """Share of pairs whose noise follows the motion in `velocity`, 0 to 1; the authors' is 0."""

    guided_neighbor_share: float = 0.0
    """Share of steps of `velocity` whose neighbour is itself guided, as in sampling; needs `pairs.frames` of 3."""

    domain: Domain = "features"

    dense: bool = True
    """Residuals for every stage of D_U; False leaves out those of the decoder (the paper's ablation)."""

    rescaling: Rescaling = "nearest"
    """Of OGWM; the others are the paper's ablation and serve in training and in its table only."""

    zero_condition: bool = False
    """Control: G_U reads zeros instead of the aligned latent, in training and in sampling."""

    aligned_lr: bool = False
    """G_U also reads the neighbour's aligned LR frame, which differs from the current one where the flow is wrong."""

    reliability: bool = False
    """G_U also reads where the flow can be trusted: where forward and backward flow agree. It costs a second flow."""

    def __post_init__(self) -> None:
        _check_shares(self)
        _check_steps(self.sampler_steps)
        if self.guided_neighbor_share > 0 and self.pairs.frames < 3:
            raise UsageError(
                "guided_neighbor_share needs longer sequences",
                got=f"{self.pairs.frames} frames",
                expected="pairs.frames of 3",
            )


@dataclass(frozen=True, kw_only=True)
class DecoderRecipe:
    """Stage 4."""

    trainer: TrainerConfig
    loss: GuidedSamplerLoss

    pairs: SequenceSettings
    """Material, sequences of two frames."""

    detail_blocks: int
    """Residual blocks at the decoder's end, at twice the latent's resolution."""

    fine_width: int
    """Channels of its correction at full resolution; 0 for none."""


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """All stages of a model."""

    autoencoder: AutoencoderRecipe
    denoiser: DenoiserRecipe
    guidance: GuidanceRecipe

    decoder: DecoderRecipe | None
    """None leaves the decoder as its autoencoder learned it."""


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe:
    """A finished model of ours goes on learning, for instance on the footage that it is meant for."""

    base: str | None
    """Model folder; None takes the packaged model."""

    denoiser: DenoiserRecipe
    """Phases of D_U; its widths are the base's. Without any phase it stays as it is."""

    guidance: GuidanceRecipe
    """Phases of G_U; what it reads, and how the model samples, are the base's."""

    decoder: DecoderRecipe | None
    """None leaves the decoder as it is."""


@dataclass(frozen=True, kw_only=True)
class BaseGuidanceRecipe:
    """A guidance network for a published upscaler, which stays frozen: the paper's own training."""

    base: str
    """Folder or hub id of the upscaler: SD-x4's or StableVSR's layout."""

    velocity: TrainerConfig
    """The authors' step, on what the base predicts: v, epsilon or x0."""

    pairs: SequenceSettings
    domain: Domain

    flow: FlowEstimatorName = "raft_large"
    """FM's estimator, on the x4 frames of each batch, where the network trains."""

    warp: Convention = "released"
    noise_level: int = 0
    """Class label of bases that have one; LR frames are not noise-augmented."""

    encode_batch: int = 16
    """Frames that the VAE encodes at once."""

    sampler_steps: int = 50
    """Steps of the default sampler: written into the model, and used in validation."""

    condition_widths: tuple[int, ...] = (64, 128, 256)
    """Channels of the ControlNet's condition embedding (`pixels` only); each after the first halves the side."""

    guided_neighbor_share: float = 0.0
    shared_noise_share: float = 0.0
    transported_noise_share: float = 0.0
    sampler_share: float = 0.0
    zero_condition: bool = False
    aligned_lr: bool = False
    reliability: bool = False
    """As in `GuidanceRecipe`; the authors have none of these."""

    def __post_init__(self) -> None:
        _check_shares(self)
        _check_steps(self.sampler_steps)
        if self.guided_neighbor_share > 0 and self.pairs.frames < 3:
            raise UsageError("guided_neighbor_share needs pairs.frames of 3", got=self.pairs.frames)


@dataclass(frozen=True, kw_only=True)
class AblationRecipe:
    """Guidance networks that differ in one thing each, trained alike around one frozen denoiser and autoencoder."""

    base: str | None
    """Model folder with the frozen networks; None takes the packaged model."""

    arms: tuple[str, ...]
    """Names from `dgafvsr.training.ablation.ARMS`, in the order of the table."""

    guidance: GuidanceRecipe
    """What all arms share; their own fields are put into it."""

    scoring: ScoringSettings = field(default_factory=lambda: ScoringSettings(frames=12, side=None, clips=None))
    """What of the validation clips the table is made on."""


Recipe = (
    AutoencoderRecipe
    | DenoiserRecipe
    | GuidanceRecipe
    | ModelRecipe
    | FinetuneRecipe
    | BaseGuidanceRecipe
    | AblationRecipe
)


def _check_shares(recipe: AutoencoderRecipe | DenoiserRecipe | GuidanceRecipe | BaseGuidanceRecipe) -> None:
    for name in (each.name for each in fields(recipe) if each.name.endswith("_share")):
        if not 0 <= getattr(recipe, name) <= 1:
            raise UsageError(f"{name} is out of range", got=getattr(recipe, name), expected="0 to 1")
    if isinstance(recipe, AutoencoderRecipe | DenoiserRecipe):
        check_fault_shares(recipe.fault_share, recipe.realistic_share)


def _check_steps(steps: int) -> None:
    if not 1 <= steps <= TIMESTEPS:
        raise UsageError("sampler_steps is out of range", got=steps, expected=f"1 to {TIMESTEPS}")
