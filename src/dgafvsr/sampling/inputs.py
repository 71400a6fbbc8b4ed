"""From a checked clip to what the sampler takes: noise, LR frames in the networks' range, flows, noise level."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dgafvsr.errors import InputError, UsageError
from dgafvsr.flow.estimator import FlowEstimator
from dgafvsr.flow.fields import with_reliability
from dgafvsr.flow.fm import BidirectionalFlows, bidirectional_flows
from dgafvsr.sampling.noise import InitialNoise, KeyedNoise, NoiseSource, initial_latents
from dgafvsr.sampling.sampler import Guidance, SamplerInput
from dgafvsr.sampling.seams import SeamState
from dgafvsr.sampling.shared_flows import SharedFlows
from dgafvsr.sampling.transport import NoiseTransport, latent_flow
from dgafvsr.sampling.windows import Window
from dgafvsr.video.color import to_signed

__all__ = ["Clip", "check_noise_level"]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The frames of a call, and what every window of them shares.

    Attributes:
        lr: T 3 h w in [0, 1].
        seed: of the noise.
        first_frame: index of the first frame in its shot.
        initial_noise: `independent`, `shared` or `transported`.
        noise: source of randomness instead of the seed's, or None.
        latents: initial noise T C h w instead of the seed's, or None.
        latent_channels: C.
        flows: (forward, backward), each T-1 2 4h 4w in HR pixels, instead of the estimator's, or None.
        noise_level: class label, and above 0 the noise augmentation of the LR frames.
        low_res_scheduler: SD-x4's noise augmentation, for noise levels above 0.
        class_labels: whether the denoiser takes the noise level as a class label.
        flow_scale: times that frames are enlarged before flow is estimated on them: 4, the method's, 2 or 1.
        transport: makes the initial noise where the motion carries it, None elsewhere.
        shared_flows: knows the flows of the frames that the window before has held back. It and the transport go from
            window to window, so that those must be asked for in order.

    Raises:
        InputError: the latents or the flows do not fit the frames.
    """

    lr: Tensor = field(repr=False)
    seed: int
    first_frame: int
    initial_noise: InitialNoise
    noise: NoiseSource | None
    latents: Tensor | None = field(repr=False)
    latent_channels: int
    flows: tuple[Tensor, Tensor] | None = field(repr=False)
    noise_level: int
    low_res_scheduler: Any
    class_labels: bool
    flow_scale: int = 4
    transport: NoiseTransport | None = None
    shared_flows: SharedFlows = field(default_factory=lambda: SharedFlows(None))

    @property
    def handed_on(self) -> SeamState:
        """What the call for the frames that follow needs beside the latents held back."""
        return self.shared_flows.state | ({} if self.transport is None else self.transport.state)

    @property
    def needs_flows(self) -> bool:
        """Whether flows are read even where nothing is guided."""
        return self.transport is not None

    def __post_init__(self) -> None:
        frames, _, height, width = self.lr.shape
        if self.latents is not None:
            _check_shape("latents", self.latents, (frames, self.latent_channels, height, width))
        for flow in self.flows or ():
            _check_shape("flows", flow, (frames - 1, 2, 4 * height, 4 * width))

    def room(self, tail: int) -> Tensor:
        """Room for the latents of a call's frames, T - tail C h w float32 on the CPU."""
        return torch.empty(len(self.lr) - tail, self.latent_channels, *self.lr.shape[-2:])

    def windows(
        self,
        windows: list[Window],
        guidance: Guidance | None,
        estimator: FlowEstimator | None,
        device: torch.device,
    ) -> SamplerInput:
        """What the sampler takes of windows of equal length, to be sampled in lockstep.

        Args:
            windows: of this clip.
            guidance: says what is kept of a flow; None needs no flows.
            estimator: FM's; not asked where the clip brings its flows.
            device: where everything goes.
        """
        noises = tuple(self._noise(window) for window in windows)
        lr = [self.lr[window.start : window.stop].to(device) for window in windows]
        flows: list[BidirectionalFlows | None] = [None] * len(windows)
        if guidance is not None or self.needs_flows:
            flows = [self._flows(*pair, guidance, estimator) for pair in zip(windows, lr, strict=True)]
        initial = [self._initial(*each) for each in zip(windows, noises, flows, strict=True)]
        forward = backward = None
        if guidance is not None:
            kept = [flow for flow in flows if flow is not None]
            forward, backward = (torch.stack([getattr(f, way) for f in kept]) for way in ("forward", "backward"))
        labels = torch.full((len(windows),), self.noise_level, dtype=torch.long, device=device)
        return SamplerInput(
            latents=torch.stack(initial).to(device),
            lr=torch.stack([self._augment(to_signed(clip), window) for clip, window in zip(lr, windows, strict=True)]),
            noise=noises,
            flow_forward=forward,
            flow_backward=backward,
            class_labels=labels if self.class_labels else None,
        )

    def _keyed(self, window: Window) -> KeyedNoise:
        first = self.first_frame + window.start
        return KeyedNoise(seed=self.seed, first_frame=first, initial_noise=self.initial_noise)

    def _noise(self, window: Window) -> NoiseSource:
        return self.noise or self._keyed(window)

    def _initial(self, window: Window, noise: NoiseSource, flows: BidirectionalFlows | None) -> Tensor:
        """Unit-variance latents N C h w float32."""
        if self.latents is not None:
            return self.latents[window.start : window.stop].float()
        height, width = self.lr.shape[-2:]
        if self.transport is not None and flows is not None:
            forward, backward = (latent_flow(flow[:, :2], height, width) for flow in (flows.forward, flows.backward))
            motion = BidirectionalFlows(forward=forward, backward=backward)
            first = self.first_frame + window.start
            return self.transport.latents(motion, first_frame=first, tail=window.tail, channels=self.latent_channels)
        return initial_latents(noise, window.stop - window.start, (self.latent_channels, height, width))

    def _flows(
        self, window: Window, lr: Tensor, guidance: Guidance | None, estimator: FlowEstimator | None
    ) -> BidirectionalFlows:
        """FM: the flows of a window, reduced to what its guidance keeps, or without one to the latent grid."""
        height, width = lr.shape[-2:]
        reliability = guidance is not None and guidance.reliability
        keep = partial(latent_flow, height=height, width=width) if guidance is None else guidance.keep
        if self.flows is None:
            assert estimator is not None, "guidance needs flows"
            estimate = partial(
                bidirectional_flows, estimator=estimator, keep=keep, scale=self.flow_scale, reliability=reliability
            )
            return self.shared_flows.of_window(window, lr, estimate)
        pairs = slice(window.start, window.stop - 1)
        forward, backward = (flow[pairs].to(lr.device) for flow in self.flows)
        if reliability:
            forward, backward = with_reliability(forward, backward), with_reliability(backward, forward)
        return BidirectionalFlows(forward=keep(forward), backward=keep(backward))

    def _augment(self, lr: Tensor, window: Window) -> Tensor:
        """SD-x4's noise augmentation of LR frames N 3 h w in [-1, 1]; level 0, the method's, changes nothing."""
        if self.noise_level == 0:
            return lr
        keyed = self._keyed(window)
        draws = [torch.randn(lr.shape[1:], generator=keyed.generator("lr", frame)) for frame in range(len(lr))]
        return self.low_res_scheduler.add_noise(lr, torch.stack(draws).to(lr), torch.tensor([self.noise_level]))


def check_noise_level(level: int, levels: int | None, low_res_scheduler: Any) -> None:
    """Raise UsageError unless a model with that many class labels (None: none) can take this noise level."""
    if level and (levels is None or low_res_scheduler is None):
        raise UsageError("This model has no noise levels", got=level, expected=0)
    if levels is not None and not 0 <= level < levels:
        raise UsageError("The noise level is out of range", got=level, expected=f"0 to {levels - 1}")


def _check_shape(what: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != expected:
        raise InputError(f"The {what} do not fit the frames", got=tuple(tensor.shape), expected=expected)
