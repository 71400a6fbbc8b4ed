"""Batches of a stage's data, prepared in the training process or in others (`workers`).

torch makes anew what a worker has raised, with the worker's traceback as its only argument. That would be the text of a
`DGAFVSRError`, so ours travel as values and are raised where the batch is used: message, parts and exit code as they
were.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from dgafvsr.errors import DGAFVSRError

__all__ = ["load_batches"]

Sample = dict[str, Tensor]


def load_batches(
    data: Dataset[Sample], indices: Sequence[list[int]], *, workers: int = 0, pinned: bool = False
) -> Iterator[Sample]:
    """The samples of each batch, stacked, on the CPU.

    Args:
        data: map-style.
        indices: of the samples of each batch.
        workers: processes that prepare data; 0 prepares here.
        pinned: in page-locked memory, for a CUDA device.

    Raises:
        DGAFVSRError: what the data raised, in whatever process.
    """
    loader: DataLoader[Sample] = DataLoader(
        _Carrier(data),
        batch_sampler=indices,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_ignore_signals,
        pin_memory=pinned,
    )
    for batch in loader:
        if isinstance(batch, DGAFVSRError):
            raise batch
        yield batch


class _Carrier(Dataset[Sample]):
    """The data, with an error of ours as the value of the batch that met it."""

    def __init__(self, data: Dataset[Sample]) -> None:
        self.data = data

    def __getitems__(self, indices: list[int]) -> list[Sample] | DGAFVSRError:
        """The samples of a batch; torch asks for them so where it finds this method."""
        try:
            return [self.data[index] for index in indices]
        except DGAFVSRError as error:
            return error


def _collate(samples: list[Sample] | DGAFVSRError) -> Sample | DGAFVSRError:
    if isinstance(samples, DGAFVSRError):
        return samples
    stacked: Sample = default_collate(samples)
    return stacked


def _ignore_signals(worker: int) -> None:
    """For processes that prepare data: a signal to the whole job asks the training to end, which then ends them."""
    del worker
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
