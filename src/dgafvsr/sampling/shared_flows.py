"""Flow between the frames that two windows share: estimated in the earlier window, taken over by the later one.

Like the latents of those frames it travels in the seam state, so that a window begins from the same flow whether the
window before was sampled a moment ago, in another call or before a restart. Only flow on the latent grid travels: what
`centered` warping or StableVSR keep is 16 times as large, many times the latents, and is cheaper estimated again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from dgafvsr.flow.fm import BidirectionalFlows
from dgafvsr.sampling.windows import Window

__all__ = ["SharedFlows"]

CHANNELS = 3
"""At most, of a flow that travels: (dx, dy) and its reliability."""


class SharedFlows:
    """The flows of the windows of one shot, one after the other.

    Args:
        state: what the window before has handed on (`state` of an earlier one); None where a shot begins.
    """

    def __init__(self, state: Mapping[str, Tensor] | None) -> None:
        self._held: BidirectionalFlows | None = None
        if state is not None and "flow_forward" in state and "flow_backward" in state:
            self._held = BidirectionalFlows(forward=state["flow_forward"], backward=state["flow_backward"])

    def of_window(
        self, window: Window, lr: Tensor, estimate: Callable[[Tensor], BidirectionalFlows]
    ) -> BidirectionalFlows:
        """All flows of a window; those of its tail are held for the next.

        Args:
            window: the one after that of the call before.
            lr: its frames, N 3 h w.
            estimate: FM, called with the last frames of `lr`: all but those whose flows are held already.
        """
        held, self._held = self._held, None
        flows = None if held is None or len(held.forward) != window.head - 1 else _joined(held, lr, estimate)
        if flows is None:
            flows = estimate(lr)
        pairs = window.tail - 1
        if pairs > 0 and flows.forward[0].numel() <= CHANNELS * lr.shape[-2] * lr.shape[-1]:
            self._held = BidirectionalFlows(forward=_tail(flows.forward, pairs), backward=_tail(flows.backward, pairs))
        return flows

    @property
    def state(self) -> dict[str, Tensor]:
        """What the next window takes over, to be added to the seam state; nothing where fewer than two are shared."""
        if self._held is None:
            return {}
        return {"flow_forward": self._held.forward, "flow_backward": self._held.backward}


def _joined(
    held: BidirectionalFlows, lr: Tensor, estimate: Callable[[Tensor], BidirectionalFlows]
) -> BidirectionalFlows | None:
    """Those held and then those of the frames that are new; None if they differ in kind: the settings have changed."""
    new = estimate(lr[len(held.forward) :])
    if new.forward.shape[1:] != held.forward.shape[1:]:
        return None
    return BidirectionalFlows(
        forward=torch.cat([held.forward.to(new.forward), new.forward]),
        backward=torch.cat([held.backward.to(new.backward), new.backward]),
    )


def _tail(flows: Tensor, pairs: int) -> Tensor:
    return flows[len(flows) - pairs :].cpu().clone()
