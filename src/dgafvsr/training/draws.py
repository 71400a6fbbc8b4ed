"""Random numbers of a training batch: every draw belongs to a sample, not to a process or to a moment.

Sample k of a run has a generator seeded with (seed, k) alone. However many processes and micro-batches share a step,
each sample meets the same noise, timestep and crop, so the step is the same up to the order of summation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Draws"]


class Draws:
    """Draws for the N samples of a (micro-)batch, made on the CPU in float32: the same numbers on every device.

    Args:
        seed: of the run.
        samples: indices of the samples in the run's data, in the batch's order.
        step: the optimiser step, for decisions that all samples of a step share.

    Attributes:
        samples: their indices.
        generators: one for each sample.
    """

    def __init__(self, seed: int, samples: Sequence[int], *, step: int = 0) -> None:
        self.samples = list(samples)
        self.generators = [_generator(seed, "sample", index) for index in samples]
        self._together = _generator(seed, "step", step)

    def __len__(self) -> int:
        return len(self.generators)

    def normal(self, *shape: int) -> Tensor:
        """Unit-variance noise, N *shape."""
        return torch.stack([torch.randn(shape, generator=generator) for generator in self.generators])

    def uniform(self) -> Tensor:
        """Numbers in [0, 1), N."""
        return torch.cat([torch.rand(1, generator=generator) for generator in self.generators])

    def integers(self, high: int) -> Tensor:
        """Whole numbers from 0 to high - 1, N int64."""
        return torch.cat([torch.randint(high, (1,), generator=generator) for generator in self.generators])

    def together(self, share: float) -> bool:
        """True with probability `share`, the same for all samples of a step."""
        return bool(torch.rand((), generator=self._together) < share)


def _generator(seed: int, purpose: str, index: int) -> torch.Generator:
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little") >> 1)
