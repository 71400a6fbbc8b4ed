"""A Ray cluster for a batch: found, looked over, and refused with one message before any work where it cannot do it.

The driver loads the model once and hands it to the workers through Ray, so that no worker can have another. Inputs and
outputs go through storage that all machines see under the same names.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from dgafvsr.errors import DGAFVSRError, OutputError, ResourceError, UsageError
from dgafvsr.jobs import memory, memory_facts
from dgafvsr.jobs.cluster_connection import connect, first_line
from dgafvsr.jobs.cluster_pool import WorkerPool
from dgafvsr.jobs.cluster_stream import ClusterStream
from dgafvsr.jobs.cluster_worker import Worker, WorkerFacts, versions
from dgafvsr.jobs.progress import Listener
from dgafvsr.jobs.sampling_plan import SamplingPlan, plan_sampling
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.upscale import Machinery, UpscaleSummary, upscale_file
from dgafvsr.jobs.upscaler import Upscaled, Upscaler
from dgafvsr.models.offload import Offload, placed
from dgafvsr.video.atomic import writing_error
from dgafvsr.video.frames import SourceInfo

__all__ = ["Cluster", "Place", "check_alike", "open_cluster", "threads_each"]

START_SECONDS = 300
CPUS_EACH = 4
"""Cores of a worker without a GPU, where the number of workers is not given."""

Place = Callable[[], tuple[str, str]]
"""Tells on a worker which device and dtype, by their names, suit its machine."""


class _SharedModel:
    """The driver's copy of the model, as its workers run it.

    Args:
        model: on the CPU.
        device: the kind that the workers run it on.
        offload: whether the weights come and go there.
    """

    def __init__(self, model: Upscaler, device: str, offload: Offload) -> None:
        self._model, self.device, self.offload = model, device, offload
        self.handle = secrets.token_hex(8), _Fetch([ray.put(model)], offload)

    @property
    def default_steps(self) -> int:
        """The model's."""
        return self._model.default_steps

    @property
    def components(self) -> Mapping[str, Any]:
        """The model's."""
        return self._model.components

    @property
    def config(self) -> Mapping[str, Any]:
        """The model's."""
        return self._model.config

    @property
    def execution(self) -> Any:
        """The model's way to run, where it has one; it goes with the model to the workers."""
        return getattr(self._model, "execution", None)

    def __call__(self, frames: Any, **options: Any) -> Upscaled:
        """The model's result, on the driver."""
        return self._model(frames, **options)


@dataclass(frozen=True)
class _Fetch:
    """Gets the model on a worker; the reference is inside a list, so that Ray does not get it for every call."""

    references: list[Any]
    offload: Offload

    def __call__(self, device: str) -> Upscaler:
        model = ray.get(self.references[0])
        return placed(model, device, self.offload) if hasattr(model, "to") else model


class Cluster:
    """The workers of a batch.

    Args:
        facts: what the workers say of themselves.
        pool: the workers.
        actors: the same as Ray knows them.
    """

    def __init__(self, facts: Sequence[WorkerFacts], pool: WorkerPool, actors: Sequence[Any]) -> None:
        self._facts, self._pool, self._actors = tuple(facts), pool, list(actors)

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self._facts)

    @property
    def device(self) -> str:
        """Kind of their devices: cuda or cpu."""
        return self._facts[0].device.partition(":")[0]

    @property
    def dtype(self) -> str:
        """That suits them all."""
        return self._facts[0].dtype

    def share(self, model: Upscaler, offload: Offload = "none") -> Upscaler:
        """The model, ready for the workers.

        Args:
            model: on the CPU; it can be pickled.
            offload: whether its weights come and go on the workers' GPUs.
        """
        return _SharedModel(model, self.device, offload)

    def upscale(
        self,
        source: Path | str,
        target: Path | str,
        pipeline: Upscaler,
        settings: UpscaleSettings | None = None,
        listener: Listener | None = None,
        *,
        wants_stop: Callable[[], bool] = bool,
    ) -> UpscaleSummary:
        """`upscale_file` by the workers; several calls share them.

        Args:
            source: as there.
            target: as there.
            pipeline: of `share`.
            settings: as there.
            listener: as there.
            wants_stop: as there.

        Raises:
            DGAFVSRError: as there, and ResourceError when no worker is left.
        """
        assert isinstance(pipeline, _SharedModel)
        machinery = Machinery(plan=self._plan, stream=partial(ClusterStream, self._pool, pipeline.handle))
        return upscale_file(source, target, pipeline, settings, listener, wants_stop=wants_stop, machinery=machinery)

    def check_sees(self, inputs: Sequence[Path], output: Path) -> None:
        """Return if every worker sees the inputs and can write into the output folder.

        Args:
            inputs: absolute.
            output: a folder, absolute.

        Raises:
            OutputError: one does not.
            ResourceError: a worker died.
        """
        token, content = output / f".dgafvsr-{secrets.token_hex(6)}.partial", secrets.token_hex(16)
        try:
            token.write_text(content, encoding="ascii")
            asked = [actor.unseen.remote(list(inputs), token, content) for actor in self._actors]
            unseen = ray.get(asked, timeout=START_SECONDS)
        except OSError as error:
            raise writing_error(output, error) from error
        except RayError as error:
            raise ResourceError("A worker died before the work began", got=first_line(error)) from error
        finally:
            token.unlink(missing_ok=True)
        for facts, path in zip(self._facts, unseen, strict=True):
            if path is not None:
                raise OutputError(
                    f"The worker on {facts.machine} does not see {path} as this machine does",
                    expected="inputs and output on storage that all machines share, under the same names",
                    remedy="mount it on all machines, for example by NFS",
                )

    def _plan(self, model: Upscaler, info: SourceInfo, settings: UpscaleSettings) -> SamplingPlan:
        """The plan of a new job, for the worker that has the least memory."""
        if "unet" not in model.components:
            return plan_sampling(model, info, settings)
        device: Literal["cpu", "cuda"] = "cuda" if self.device == "cuda" else "cpu"
        free = min(each.memory_bytes // self._sharing(each) for each in self._facts)
        fitting = memory.plan(
            info.width,
            info.height,
            memory_facts.model_facts(model, settings.sampling.reuse, offload=getattr(model, "offload", None)),
            free + (memory.standing_bytes(device) if device == "cuda" else 0),  # of processes most is still to come
            device=device,
            overlap=settings.overlap,
            window=settings.window,
            tile=settings.tile,
            lockstep=settings.lockstep,
        )
        return SamplingPlan(
            window=fitting.window, overlap=fitting.overlap, tile=fitting.tile, lockstep=fitting.lockstep
        )

    def _sharing(self, worker: WorkerFacts) -> int:
        """How many workers share the memory that this one sees."""
        return 1 if self.device == "cuda" else sum(each.machine == worker.machine for each in self._facts)


@contextmanager
def open_cluster(
    address: str,
    place: Place,
    *,
    workers: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    cores: int | None = None,
) -> Iterator[Cluster]:
    """A cluster with its workers started and found alike; they end with the context.

    Args:
        address: `auto` for the cluster that this machine belongs to, HOST:PORT or ray://HOST:PORT, or `local` for one
            that is started on this machine and ends with the context. A program that is connected stays so.
        place: tells device and dtype on a worker.
        workers: how many; None for one on each GPU, or on each four cores.
        device: what the workers compute with; `auto` takes GPUs where the cluster has some.
        cores: of each worker without a GPU; None for as many as there are.

    Raises:
        UsageError: the cluster cannot be reached, has too little for so many workers, or runs other versions.
        ResourceError: the workers do not start.
    """
    if workers is not None and workers < 1:
        raise UsageError("The number of workers is impossible", got=workers, expected="at least 1")
    connected = ray.is_initialized()
    if not connected:
        connect(address, workers)
    try:
        with _Hiring(place, _share_of(workers, device, cores)) as hiring:
            actors = [hiring.begin() for _ in range(hiring.share.workers)]
            facts = [_facts_of(actor) for actor in actors]
            check_alike(facts)
            pool = WorkerPool(hiring.replace, actors)
            try:
                yield Cluster(facts, pool, actors)
            finally:
                pool.close()
    finally:
        if not connected:
            ray.shutdown()


@dataclass(frozen=True, kw_only=True)
class _Share:
    """What a worker gets of the cluster."""

    workers: int
    cpus: int
    """Cores, 0 where it has a GPU."""
    gpus: int


class _Hiring:
    """Starts workers; those that are left end with the context."""

    def __init__(self, place: Place, share: _Share) -> None:
        self._place, self.share = place, share
        self._actors = list[Any]()

    def begin(self) -> Any:
        """A worker that is starting."""
        share = self.share
        kind = ray.remote(Worker).options(
            num_cpus=share.cpus, num_gpus=share.gpus, max_concurrency=2, scheduling_strategy="SPREAD"
        )
        actor = kind.remote(self._place, share.cpus or None)
        self._actors.append(actor)
        return actor

    def replace(self) -> Any:
        """A worker in place of one that died, ready to work."""
        actor = self.begin()
        check_alike([_facts_of(actor)])
        return actor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for actor in self._actors:
            with suppress(RayError):
                ray.kill(actor)


def threads_each(cores: Sequence[int], workers: int) -> int:
    """The most cores that each worker can have, 0 where there are too few for one each.

    Args:
        cores: of each machine; a worker has all of its cores on one.
        workers: how many, at least 1.
    """
    fitting = (each for each in range(max(cores, default=0), 0, -1) if sum(c // each for c in cores) >= workers)
    return next(fitting, 0)


def _share_of(workers: int | None, device: Literal["auto", "cpu", "cuda"], wanted: int | None) -> _Share:
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = sum(int(each.get("GPU", 0)) for each in machines)
    if device == "cuda" and not gpus:
        raise UsageError("The Ray cluster has no GPU", remedy="leave --device out, or join machines that have some")
    if gpus and device != "cpu":
        if workers is not None and workers > gpus:
            raise UsageError("There are too few GPUs for so many workers", got=workers, expected=f"at most {gpus}")
        return _Share(workers=workers or gpus, cpus=0, gpus=1)
    cores = [int(each.get("CPU", 0)) for each in machines]
    number = workers or max(1, sum(each // CPUS_EACH for each in cores))
    most = threads_each(cores, number)
    if most < (wanted or 1):
        raise UsageError("There are too few cores for so many workers", got=number, expected=f"at most {sum(cores)}")
    return _Share(workers=number, cpus=wanted or most, gpus=0)


def _facts_of(actor: Any) -> WorkerFacts:
    """What a worker says of itself, once it has started."""
    try:
        facts: WorkerFacts = ray.get(actor.facts.remote(), timeout=START_SECONDS)
    except GetTimeoutError as error:
        raise ResourceError(
            f"A worker did not start within {START_SECONDS} s", remedy="use fewer workers, or end other work there"
        ) from error
    except RayTaskError as error:
        cause = getattr(error, "cause", None)
        raise (cause if isinstance(cause, DGAFVSRError) else error) from None
    except RayError as error:
        missing = re.search(r"No module named '([\w.]+)'", str(error))
        if missing:
            raise UsageError(
                "A worker cannot load dgafvsr as it is here",
                got=missing[0],
                remedy="install the same version of dgafvsr with its extra `batch` on all machines",
            ) from error
        raise ResourceError("A worker died when it started", got=first_line(error)) from error
    return facts


def check_alike(facts: Sequence[WorkerFacts]) -> None:
    """Raise UsageError unless the workers would make the frames that one machine makes.

    Args:
        facts: of every worker.
    """
    here = versions()
    for each in facts:
        if each.versions != here:
            raise UsageError(
                f"The worker on {each.machine} runs other versions",
                got=_listing(each.versions),
                expected=_listing(here),
                remedy="install the same versions on all machines",
            )
    kinds = {(each.device.partition(":")[0], each.dtype) for each in facts}
    if len(kinds) > 1:
        raise UsageError(
            "The workers would not all make the same frames",
            got=", ".join(sorted(" with ".join(kind) for kind in kinds)),
            remedy="choose --device and --dtype",
        )


def _listing(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
