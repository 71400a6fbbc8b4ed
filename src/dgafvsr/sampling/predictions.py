"""What a denoiser predicts, and how it relates to the noise-free latent: epsilon, v and x0.

    z_t = sqrt(abar) x0 + sqrt(1 - abar) eps            forward process
    v   = sqrt(abar) eps - sqrt(1 - abar) x0            Salimans & Ho 2022
    x0  = sqrt(abar) z_t - sqrt(1 - abar) v

abar is the scheduler's cumulative product of alphas at t. Training targets and sampling estimates both come from here.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from dgafvsr.errors import ModelError

__all__ = ["PredictionType", "add_noise", "check_prediction_type", "target", "to_x0"]

PredictionType = Literal["epsilon", "v_prediction", "sample"]
"""diffusers' names: the noise, the velocity, or x0 itself."""


def check_prediction_type(name: str) -> PredictionType:
    """The name, if it is one of diffusers' three; ModelError otherwise."""
    if name not in get_args(PredictionType):
        raise ModelError("Unknown prediction type", got=name, expected=", ".join(get_args(PredictionType)))
    return name  # type: ignore[return-value]


def add_noise(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """Noisy latent z_t of x0: all N C h w, `alpha_bar` N or a scalar."""
    signal, sigma = _coefficients(alpha_bar, x0)
    return signal * x0 + sigma * noise


def target(x0: Tensor, noise: Tensor, alpha_bar: Tensor, kind: PredictionType) -> Tensor:
    """What the denoiser should predict for x0 and this noise: N C h w."""
    if kind == "epsilon":
        return noise
    if kind == "sample":
        return x0
    signal, sigma = _coefficients(alpha_bar, x0)
    return signal * noise - sigma * x0


def to_x0(prediction: Tensor, noisy: Tensor, alpha_bar: Tensor, kind: PredictionType) -> Tensor:
    """Noise-free latent z~_{t->0} that a prediction at z_t implies: N C h w.

    An epsilon prediction says nothing about x0 at abar = 0 (pure noise); the other two do.
    """
    if kind == "sample":
        return prediction
    signal, sigma = _coefficients(alpha_bar, noisy)
    if kind == "epsilon":
        return (noisy - sigma * prediction) / signal
    return signal * noisy - sigma * prediction


def _coefficients(alpha_bar: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Signal and noise amplitudes sqrt(abar), sqrt(1 - abar), shaped to multiply N C h w."""
    if alpha_bar.ndim == 0 and alpha_bar.device.type == "cpu":  # a number: moved, it would keep a GPU's queue waiting
        alpha_bar = alpha_bar.to(dtype=like.dtype)
    else:
        alpha_bar = alpha_bar.to(device=like.device, dtype=like.dtype).reshape(-1, *[1] * (like.ndim - 1))
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
