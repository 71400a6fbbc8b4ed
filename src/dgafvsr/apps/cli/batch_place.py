"""Where a batch is worked on: in this process, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dgafvsr.errors import UsageError

if TYPE_CHECKING:
    import torch

    from dgafvsr.jobs.batch import FilmJob
    from dgafvsr.jobs.upscaler import Upscaler
    from dgafvsr.pipeline import DGAFVSRPipeline

__all__ = ["BatchPlace", "PlaceChoice"]


@dataclass(frozen=True, kw_only=True)
class BatchPlace:
    """What makes the films of a batch."""

    load: Callable[[], Upscaler]
    """Gives the model."""
    upscale: FilmJob
    """Makes one film."""
    at_once: int
    """Films that are worked on at the same time."""
    device: str
    """Where the networks run."""
    dtype: str
    """Of the weights."""
    workers: int | None
    """Of the cluster, None without one."""


@dataclass(frozen=True, kw_only=True)
class PlaceChoice:
    """What was asked for, in the words of the options."""

    model: str | None
    """Folder or hub id, None for the packaged one."""
    revision: str | None
    """Of a hub id."""
    flow: str | None
    """Name of the flow estimator, None for the model's."""
    device: str
    """Such as auto."""
    dtype: str
    """Such as auto."""
    compiled: bool
    """Whether the networks are compiled; not on a cluster."""
    offload: str
    """Such as none."""
    threads: int | None
    """Of the processor, on a cluster for each worker without a GPU; None for all there are."""
    ray: str | None
    """Address of a cluster, None for this process."""
    workers: int | None
    """Of the cluster, None for as many as it has room for."""

    @contextmanager
    def open(self, inputs: Sequence[Path], output: Path) -> Iterator[BatchPlace]:
        """The place; a cluster has been looked over, and its workers end with the context.

        Args:
            inputs: of the batch, absolute.
            output: folder of the results, absolute; it is there.

        Raises:
            UsageError: an option is unknown here, or the cluster cannot do it.
            OutputError: workers do not see the files.
            ResourceError: the workers do not start.
        """
        if self.ray is not None:
            with self._cluster(self.ray, inputs, output) as place:
                yield place
            return
        if self.workers is not None:
            raise UsageError("Workers belong to a cluster", got="--workers without --ray", remedy="add --ray local")

        from dgafvsr.apps.cli.devices import (
            choose_device,
            choose_dtype,
            choose_offload,
            compiled_where_possible,
            use_threads,
        )
        from dgafvsr.jobs.upscale import upscale_file
        from dgafvsr.models.offload import placed

        use_threads(self.threads)
        here = choose_device(self.device)
        weights, waiting = choose_dtype(self.dtype, here), choose_offload(self.offload, here)

        def load() -> DGAFVSRPipeline:
            pipeline = self._load(weights)
            if self.compiled:
                pipeline.execution = compiled_where_possible(here, waiting)
            return placed(pipeline, here, waiting)

        yield BatchPlace(
            load=load,
            upscale=upscale_file,
            at_once=1,
            device=str(here),
            dtype=str(weights).removeprefix("torch."),
            workers=None,
        )

    @contextmanager
    def _cluster(self, address: str, inputs: Sequence[Path], output: Path) -> Iterator[BatchPlace]:
        import torch

        from dgafvsr.apps.cli.devices import check_threads, choose_offload
        from dgafvsr.jobs.cluster import open_cluster

        if self.compiled:
            raise UsageError("Workers of a cluster do not compile", got="--compile and --ray", remedy="leave one out")
        kinds: dict[str, Literal["auto", "cpu", "cuda"]] = {"auto": "auto", "cpu": "cpu", "cuda": "cuda"}
        if self.device not in kinds:
            raise UsageError(
                "A cluster chooses its devices itself", got=f"--device {self.device}", expected="auto, cpu or cuda"
            )
        check_threads(self.threads)
        choose = partial(_on_worker, self.device, self.dtype)
        with open_cluster(
            address, choose, workers=self.workers, device=kinds[self.device], cores=self.threads
        ) as cluster:
            cluster.check_sees(inputs, output)
            waiting = choose_offload(self.offload, torch.device(cluster.device))
            yield BatchPlace(
                load=lambda: cluster.share(self._load(getattr(torch, cluster.dtype)), waiting),
                upscale=cluster.upscale,
                at_once=cluster.workers,
                device=cluster.device,
                dtype=cluster.dtype,
                workers=cluster.workers,
            )

    def _load(self, dtype: torch.dtype) -> DGAFVSRPipeline:
        from dgafvsr import DGAFVSRPipeline

        return DGAFVSRPipeline.from_pretrained(self.model, torch_dtype=dtype, revision=self.revision, flow=self.flow)


def _on_worker(device: str, dtype: str) -> tuple[str, str]:
    """Device and dtype that suit a worker's machine; Ray shows it one GPU at most."""
    from dgafvsr.apps.cli.devices import choose_device, choose_dtype

    here = choose_device(device)
    return str(here), str(choose_dtype(dtype, here)).removeprefix("torch.")
