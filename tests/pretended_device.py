"""An accelerator that is not there: tensors say that they lie on it, are computed on the CPU, and complain as it would.

    with PretendedDevice("cuda:1") as device:
        pipe.to("cuda:1")
        pipe(frames)

Inside, every storage has a pretended device, so views, parameters and gradients have it too. `to`, `cuda`, `cpu` and
`device=` change it, operations hand it on, `device` and `is_cuda` tell it. What would fail on a machine with that
accelerator raises:

    mixed devices       an operation that reads tensors of several devices, but for what torch allows: numbers of no
                        dimensions on the CPU in elementwise operations, indices on the CPU, `copy_`
    numpy               of a tensor that is not on the CPU
    generators          of another device than the draws
    float64             on "mps", which has none
    streams             work in one CUDA stream that reads what another is still writing: nothing waits here but the
                        copies from and to the CPU and the numbers that are read, as with pageable memory on CUDA

"cuda" means "cuda:0", so a pipeline on "cuda:1" also finds out who forgets the number. Threads that are started inside
are inside as well. `torch.cuda.is_available()` stays as it is: not the driver is pretended, only where tensors lie.
Kernels, memory and speed of the accelerator are beyond this.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CPU = torch.device("cpu")
ATEN = torch.ops.aten

CROSSING = {ATEN.copy_.default, ATEN._foreach_copy_.default}
"""Operations that may read one device and write another."""
INDEXING = {ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default, ATEN._index_put_impl_.default}
"""Operations whose indices may lie on the CPU."""
WAITING = {ATEN._local_scalar_dense.default, ATEN.nonzero.default, ATEN.masked_select.default, ATEN.equal.default}
"""Operations that the program waits for on CUDA."""


class DeviceError(RuntimeError):
    """What would fail, or would not be safe, on the accelerator."""


class PretendedDevice:
    """The accelerator, as a context.

    Args:
        name: "cuda", "cuda:1" or "mps".
    """

    def __init__(self, name: str = "cuda:1") -> None:
        self.device = canonical(name)
        self.places = _Places()
        self._streams = _Streams()
        self._open = ExitStack()

    def __enter__(self) -> torch.device:
        self._open.enter_context(self._modes())
        for target, name, value in self._replacements():
            self._open.enter_context(patch.object(target, name, value))
        return self.device

    def __exit__(self, *error: object) -> None:
        self._open.close()

    @contextmanager
    def _modes(self) -> Iterator[None]:
        with _Operations(self.places, self._streams), _Functions(self.places, self._streams):
            yield

    def _replacements(self) -> list[tuple[Any, str, Any]]:
        run, start, enabled = threading.Thread.run, torch.autocast.__init__, torch.is_autocast_enabled

        def run_inside(thread: threading.Thread) -> None:
            with self._modes():
                run(thread)

        def start_on_cpu(self: Any, device_type: str, *args: Any, **options: Any) -> None:
            start(self, "cpu" if device_type in ("cuda", "mps") else device_type, *args, **options)

        return [
            (threading.Thread, "run", run_inside),
            (torch.autocast, "__init__", start_on_cpu),
            (torch, "is_autocast_enabled", lambda kind="cpu": enabled("cpu" if kind in ("cuda", "mps") else kind)),
            (torch._C, "_group_tensors_by_device_and_dtype", self._grouped),
            (torch.cuda, "Stream", _Stream),
            (torch.cuda, "stream", self._streams.within),
        ]

    def _grouped(self, lists: list[list[Any]], with_indices: bool = False) -> dict[Any, Any]:
        """In the place of what optimisers and clipping sort their tensors by, which reads devices below Python."""
        groups: dict[Any, Any] = {}
        for index, first in enumerate(lists[0]):
            members, indices = groups.setdefault((self.places.of(first), first.dtype), ([[] for _ in lists], []))
            for member, given in zip(members, lists, strict=True):
                member.extend(given[index : index + 1])  # a list may be empty
            indices.append(index)
        return groups


def canonical(name: torch.device | str | int) -> torch.device:
    """A device with its number."""
    device = torch.device(f"cuda:{name}" if isinstance(name, int) else name)
    return torch.device("cuda:0") if device == torch.device("cuda") else device


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among the arguments or results of an operation."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)


class _Places:
    """Where each storage lies, and in which stream it was written last. Storages that are not known are on the CPU."""

    def __init__(self) -> None:
        # The weak reference also keeps the storage's address from being given to another one.
        self._known: dict[int, tuple[StorageWeakRef, torch.device]] = {}
        self._limit = 1024
        self.written: dict[int, tuple[object, int]] = {}

    def of(self, tensor: Tensor) -> torch.device:
        known = self._known.get(self.key(tensor))
        return CPU if known is None else known[1]

    def put(self, tensor: Tensor, device: torch.device) -> None:
        key = self.key(tensor)
        if device == CPU:
            self._forget(key)
            return
        self._known[key] = StorageWeakRef(tensor.untyped_storage()), device
        if len(self._known) > self._limit:
            for expired in [key for key, (reference, _) in self._known.items() if reference.expired()]:
                self._forget(expired)
            self._limit = max(1024, 2 * len(self._known))

    def _forget(self, key: int) -> None:
        self._known.pop(key, None)
        self.written.pop(key, None)

    @staticmethod
    def key(tensor: Tensor) -> int:
        return tensor.untyped_storage()._cdata


class _Stream:
    """In the place of torch.cuda.Stream."""

    def __init__(self, device: object = None) -> None:
        self.device = device


class _Streams:
    """How far each stream has been waited for."""

    def __init__(self) -> None:
        self._current = threading.local()
        self._default = _Stream()
        self._count = 0
        self._waited: dict[object, int] = defaultdict(int)

    @property
    def current(self) -> object:
        return getattr(self._current, "stream", self._default)

    @contextmanager
    def within(self, stream: object) -> Iterator[None]:
        """In the place of torch.cuda.stream."""
        before = self.current
        self._current.stream = before if stream is None else stream
        try:
            yield
        finally:
            self._current.stream = before

    def wait(self) -> None:
        self._waited[self.current] = self._count

    def write(self) -> tuple[object, int]:
        self._count += 1
        return self.current, self._count

    def check(self, written: tuple[object, int] | None, name: str) -> None:
        if written is not None and written[0] is not self.current and written[1] > self._waited[written[0]]:
            raise DeviceError(f"{name} reads in one stream what another one may still be writing")


class _Operations(TorchDispatchMode):
    """Sees every operation on tensors, those of the backward pass too."""

    def __init__(self, places: _Places, streams: _Streams) -> None:
        super().__init__()
        self._places, self._streams = places, streams

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            given = [*tensors_in(args), *tensors_in(kwargs.values())]
            device = self._common_device(func, given, args)
            for tensor in given if device.type == "cuda" else ():
                self._streams.check(self._places.written.get(self._places.key(tensor)), str(func))
            result = func(*args, **kwargs)
            if device != CPU:
                self._mark(func, given, result, device)
            return result

    def _mark(self, func: Any, given: list[Tensor], result: Any, device: torch.device) -> None:
        known = {self._places.key(tensor) for tensor in given}
        made = list(tensors_in([result]))
        fresh = [each for each in made if self._places.key(each) not in known]
        for tensor in fresh:
            if device.type == "mps" and tensor.dtype in (torch.float64, torch.complex128):
                raise DeviceError(f"{func}: Cannot convert a MPS Tensor to float64 dtype")
            self._places.put(tensor, device)
        changed = fresh + (made if func._schema.is_mutable else [])
        if func in WAITING:
            self._streams.wait()
        elif changed:
            written = self._streams.write()
            self._places.written |= {self._places.key(each): written for each in changed}

    def _common_device(self, func: Any, given: list[Tensor], args: Any) -> torch.device:
        if func in CROSSING:
            return max((self._places.of(each) for each in given), key=str, default=CPU)
        if func in INDEXING:
            place = self._places.of(args[0])
            given = [each for each in given if place == CPU or self._places.of(each) != CPU] + [args[0], *args[2:3]]
        places = {self._places.of(each) for each in given}
        if len(places) < 2:
            return next(iter(places), CPU)
        numbers = torch.Tag.pointwise in func.tags or func in INDEXING
        others = {self._places.of(each) for each in given if not (numbers and self._is_number(each))}
        written = [self._places.of(args[0])] if func._schema.is_mutable and isinstance(args[0], Tensor) else []
        if len(others | set(written)) != 1:
            names = " and ".join(sorted(map(str, places)))
            raise DeviceError(f"Expected all tensors to be on the same device, but found {names} ({func})")
        return next(iter(others))

    def _is_number(self, tensor: Tensor) -> bool:
        return tensor.ndim == 0 and self._places.of(tensor) == CPU


class _Functions(TorchFunctionMode):
    """Sees what names or asks for a device."""

    def __init__(self, places: _Places, streams: _Streams) -> None:
        super().__init__()
        self._places, self._streams = places, streams
        self._special: dict[Any, Callable[..., Any]] = {
            Tensor.device.__get__: places.of,  # type: ignore[attr-defined]
            Tensor.is_cuda.__get__: lambda tensor: places.of(tensor).type == "cuda",  # type: ignore[attr-defined]
            Tensor.is_cpu.__get__: lambda tensor: places.of(tensor) == CPU,  # type: ignore[attr-defined]
            Tensor.get_device: lambda tensor: -1 if (index := places.of(tensor).index) is None else index,
            Tensor.to: self._to,
            Tensor.cpu: lambda tensor, **_: self._move(tensor, CPU),
            Tensor.cuda: lambda tensor, device="cuda", **_: self._move(tensor, canonical(device)),
            Tensor.type_as: self._to,
            Tensor.new_tensor: self._new_tensor,
            Tensor.numpy: lambda tensor, **options: self._on_cpu(tensor).numpy(**options),
            Tensor.__array__: lambda tensor, **options: self._on_cpu(tensor).__array__(**options),
            Tensor.__deepcopy__: lambda tensor, memo: self._placed(tensor.__deepcopy__(memo), places.of(tensor)),
            torch.as_tensor: self._as_tensor,
            torch._C._nn._parse_to: torch._C._nn._parse_to,
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        special = self._special.get(func)
        if special is not None:
            return special(*args, **kwargs)
        if kwargs.get("device") is None:
            return func(*args, **kwargs)
        device = canonical(kwargs["device"])
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type != device.type:
            raise DeviceError(f"Expected a {device.type} generator but found {generator.device.type}")
        result = func(*args, **{**kwargs, "device": CPU})
        return self._placed(result, device)

    def _placed(self, tensor: Tensor, device: torch.device) -> Tensor:
        """A new tensor, said to lie there."""
        if device.type == "mps" and tensor.dtype == torch.float64:
            raise DeviceError("Cannot convert a MPS Tensor to float64 dtype")
        self._places.put(tensor, device)
        return tensor

    def _to(self, tensor: Tensor, *args: Any, **options: Any) -> Tensor:
        if options.pop("copy", False):
            tensor = tensor.clone()
        other = next((each for each in (*args, *options.values()) if isinstance(each, Tensor)), None)
        if other is not None:
            return self._move(tensor.to(other.dtype), self._places.of(other))
        device, dtype, _, layout = torch._C._nn._parse_to(*args, **options)
        moved = tensor if device is None else self._move(tensor, canonical(device))
        if dtype is None and layout is None:
            return moved
        return moved.to(dtype=dtype or tensor.dtype, **({} if layout is None else {"memory_format": layout}))

    def _move(self, tensor: Tensor, device: torch.device) -> Tensor:
        if self._places.of(tensor) == device:
            return tensor
        moved = _Moved.apply(tensor, self._places, device)
        self._streams.wait()  # copies of pageable memory end before the program goes on
        return self._placed(moved, device)

    def _new_tensor(self, like: Tensor, data: Any, **options: Any) -> Tensor:
        device = canonical(options.pop("device", None) or self._places.of(like))
        return self._placed(like.new_tensor(data, **options), device)

    def _as_tensor(self, data: Any, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        if isinstance(data, Tensor):
            return self._to(data, dtype=dtype or data.dtype, device=canonical(device or self._places.of(data)))
        tensor = torch.as_tensor(data, dtype=dtype)
        return tensor if device is None else self._placed(tensor, canonical(device))

    def _on_cpu(self, tensor: Tensor) -> Tensor:
        place = self._places.of(tensor)
        if place != CPU:
            raise DeviceError(f"can't convert {place} device type tensor to numpy")
        return tensor


class _Moved(torch.autograd.Function):
    """A copy on another device; its gradient comes back to the first."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, places: _Places, device: torch.device) -> Tensor:
        ctx.places, ctx.source = places, places.of(tensor)
        copied = tensor.clone()
        places.put(copied, device)
        return copied

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        returned = gradient.clone()
        ctx.places.put(returned, ctx.source)
        return returned, None, None
