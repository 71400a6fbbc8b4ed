"""torch.compile for D_U and G_U, where there is a compiler; else one line, and everything runs as it did.

On the CPU compiling gains nothing on the packaged model (its convolutions run at the processor's peak already) and
takes minutes; it is meant for GPUs, where it fuses what lies between convolutions and replays CUDA graphs instead of
launching kernels one by one. A graph writes its results into the same buffers each time, so they are copied out.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dgafvsr.errors import DGAFVSRError
from dgafvsr.models.offload import is_offloaded, runs_on
from dgafvsr.models.out_of_memory import is_out_of_memory

__all__ = ["Compilable", "compile_networks", "compiler_fault", "give_up_graphs", "hold_graphs", "run_uncompiled"]

SIZES = 32
"""Shapes that a network is compiled for at most (whole frames, tiles, batches); later ones run as written."""


class Compilable:
    """A network that can be run compiled; mixed in before its module class.

    Attributes:
        compiled: what is called instead of the network, None for the network as written.
        compiled_for: the device that it was compiled for, or could not be; None where that has not been tried.
    """

    compiled: Callable[..., Any] | None = None
    compiled_for: torch.device | None = None

    def __call__(self, *args: Any, **options: Any) -> Any:
        """What `forward` gives.

        Warns with one line, and runs as written from then on, where the compiler fails at it; only the call can tell.
        """
        run: Callable[..., Any] = super().__call__  # type: ignore[misc]
        if self.compiled is None or options.get("deep") is not None:  # kept features must outlive a graph's buffers
            return run(*args, **options)
        try:
            return self.compiled(*args, **options)
        except DGAFVSRError:
            raise
        except Exception as error:  # as in `compiler_fault`
            if is_out_of_memory(error):
                raise
            fault = _line(error)
        result = run(*args, **options)  # outside of the handler, which holds memory; raises what is not the compiler's
        warnings.warn(f"{type(self).__name__} cannot be compiled ({fault}); it runs uncompiled", stacklevel=2)
        self.compiled = None
        return result


def compile_networks(networks: Iterable[Compilable]) -> None:
    """Have the networks compiled, each size of frames at its first call. Weights and what is saved do not change.

    Warns with one line and has them run as written where nothing can be compiled.
    """
    given: list[Any] = list(networks)
    waiting = [network for network in given if is_offloaded(network) or network.compiled_for != runs_on(network)]
    if not waiting:
        return
    moving = any(map(is_offloaded, waiting))
    run_uncompiled(given if moving else waiting)  # what was compiled for another device cannot run on this one
    fault = "the weights are offloaded" if moving else compiler_fault(runs_on(waiting[0]).type)
    if fault is not None:
        warnings.warn(f"Nothing can be compiled here ({fault}); the networks run uncompiled", stacklevel=2)
        return
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, SIZES)
    for network in waiting:
        network.compiled_for = device = runs_on(network)
        if device.type == "cuda":
            graphed = torch.compile(network.forward, dynamic=False, mode="reduce-overhead")
            network.compiled = functools.partial(_replay, graphed, device)
        else:
            network.compiled = torch.compile(network.forward, dynamic=False)


def run_uncompiled(networks: Iterable[Compilable]) -> None:
    """Have the networks run as written again."""
    for network in networks:
        network.compiled = network.compiled_for = None


def hold_graphs(networks: Iterable[object]) -> bool:
    """Whether one of them runs as CUDA graphs, which keep the memory that they compute in between calls."""
    return any(network.compiled is not None for network in _on_cuda(networks))


def give_up_graphs(networks: Iterable[object]) -> bool:
    """Have networks on a CUDA device run as written, and let go of what their graphs hold.

    They are not compiled for that device again, whatever is asked for, as if that had failed. What else this process
    has compiled is compiled anew at its next call. Call it on the thread that the networks run on, which owns the
    graphs.

    Returns:
        Whether there were graphs.
    """
    given = _on_cuda(networks)
    held = hold_graphs(given)
    for network in given:
        network.compiled, network.compiled_for = None, runs_on(network)
    if held:
        torch.compiler.reset()
    return held


def _on_cuda(networks: Iterable[object]) -> list[Any]:
    given: list[Any] = [network for network in networks if isinstance(network, Compilable)]
    return [network for network in given if runs_on(network).type == "cuda"]


@functools.cache
def compiler_fault(kind: str) -> str | None:
    """Why torch.compile does not work on this kind of device, in a line; None where it does. Takes seconds once."""

    def double(x: Tensor) -> Tensor:
        return x * 2

    try:
        torch.compile(double)(torch.ones(2, device=kind))
    except Exception as error:  # noqa: BLE001  compilers, linkers and drivers fail in many ways, all meaning the same
        return _line(error)
    return None


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _replay(graphed: Callable[..., Any], device: torch.device, *args: Any, **options: Any) -> Any:
    """A call of a network that runs as a CUDA graph: inputs on the device, results that the next call leaves alone."""
    torch.compiler.cudagraph_mark_step_begin()
    moved = [_moved(value, device) for value in args]
    return _copied(graphed(*moved, **{name: _moved(value, device) for name, value in options.items()}))


def _moved(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value


def _copied(result: Any) -> Any:
    """The same structure of tensors with memory of their own."""
    if isinstance(result, Tensor):
        return result.clone()
    if isinstance(result, tuple):
        return tuple(map(_copied, result))
    if is_dataclass(result) and not isinstance(result, type):
        return replace(result, **{field.name: _copied(getattr(result, field.name)) for field in fields(result)})
    return result
