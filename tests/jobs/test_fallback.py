from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dgafvsr.errors import ResourceError
from dgafvsr.jobs.fallback import FallbackUpscaler, Reduction, is_out_of_memory
from tests import factories

FRAMES = np.zeros((12, 100, 160, 3), dtype=np.float32)


class Hungry:
    """A pipeline that holds `limit` tile pixels times frames and no more."""

    device, default_steps, components = "cuda:0", 4, {"unet": None}

    def __init__(self, limit, error=None):
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\n2.00 GiB")
        self.limit, self.calls = limit, []

    def __call__(self, frames, *, state, tail, tile, window=None, overlap=0, **options):
        count, height, width = frames.shape[:3]
        self.calls.append({"window": window, "overlap": overlap, "tile": tile, "tail": tail, "state": state} | options)
        tile = tile or max(height, width)
        if min(count, window or count) * min(height, tile) * min(width, tile) > self.limit:
            raise self.error
        return SimpleNamespace(frames=frames[: count - tail], state=None)


def settings(calls):
    return [(call["window"], call["tile"]) for call in calls]


def test_enough_memory_changes_nothing():
    pipe = Hungry(10**9)
    upscaler = FallbackUpscaler(pipe)
    upscaler(FRAMES, tail=3, tile=64, seed=5)
    assert pipe.calls == [{"window": None, "overlap": 0, "tile": 64, "tail": 3, "state": None, "seed": 5}]
    assert (upscaler.warnings, upscaler.reduction) == ([], Reduction())
    assert (upscaler.device, upscaler.default_steps, upscaler.components) == ("cuda:0", 4, {"unet": None})


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] data. DefaultCPUAllocator: not enough memory: you tried ..."),
        RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"),
    ],
)
def test_shorter_windows_come_first_and_are_kept(error):
    pipe = Hungry(7 * 100 * 160, error)
    upscaler = FallbackUpscaler(pipe)
    result = upscaler(FRAMES, tail=4)
    assert len(result.frames) == 8
    assert settings(pipe.calls) == [(None, None), (6, None)]
    assert pipe.calls[1]["overlap"] == 4  # at least the tail, so that the last inner window can hold it back
    assert len(upscaler.warnings) == 1
    assert "160x100" in upscaler.warnings[0]
    assert "going on with windows of 6 frames" in upscaler.warnings[0]
    upscaler(FRAMES, tail=4)
    assert settings(pipe.calls) == [(None, None), (6, None), (6, None)]
    assert len(upscaler.warnings) == 1


def test_inner_windows_stay_longer_than_what_the_call_shares():
    pipe = Hungry(0)
    state = {"latents": torch.zeros(5, 4, 100, 160)}
    with pytest.raises(ResourceError):
        FallbackUpscaler(pipe)(FRAMES, state=state, tail=3)
    assert min(call["window"] or 12 for call in pipe.calls) == 6
    assert all(call["state"] is state for call in pipe.calls)


def test_tiles_come_next_and_get_smaller():
    pipe = Hungry(2 * 70 * 70)
    upscaler = FallbackUpscaler(pipe)
    upscaler(FRAMES)
    assert settings(pipe.calls) == [(None, None), (6, None), (3, None), (2, None), (2, 80), (2, 64)]
    assert upscaler.reduction == Reduction(window=2, tile=64)
    assert len(upscaler.warnings) == 5
    assert upscaler.warnings[-1].endswith("going on with windows of 2 frames in tiles of 64 pixels")


def test_one_frame_has_only_tiles():
    pipe = Hungry(70 * 70)
    FallbackUpscaler(pipe)(FRAMES[:1])
    assert settings(pipe.calls) == [(None, None), (None, 80), (None, 64)]


def test_a_known_reduction_is_where_it_starts():
    pipe = Hungry(10**9)
    upscaler = FallbackUpscaler(pipe, start=Reduction(window=4, tile=96))
    upscaler(FRAMES, tile=128)
    assert settings(pipe.calls) == [(4, 96)]


def test_too_little_for_the_least_says_what_would_be_needed():
    upscaler = FallbackUpscaler(Hungry(0), needed_bytes=lambda width, height, reduction: width * height * 10**6)
    with pytest.raises(ResourceError) as caught:
        upscaler(FRAMES)
    message = str(caught.value)
    for part in ("cuda:0", "160x100", "windows of 2 frames in tiles of 64", "about 16.0 GB", "CUDA out of memory"):
        assert part in message
    assert "2.00 GiB" not in message  # one line


def test_other_errors_pass():
    for error in (RuntimeError("size mismatch"), ValueError("not enough memory in the user's head")):
        assert not is_out_of_memory(error)
        with pytest.raises(type(error)):
            FallbackUpscaler(Hungry(0, error))(FRAMES)


def test_real_pipeline_takes_what_the_fallback_asks():
    """The same head and tail, whatever happens inside."""
    pipe = factories.pipeline()
    clip = factories.clip(frames=7, height=40, width=70)
    small = FallbackUpscaler(pipe, start=Reduction(window=3, tile=48))
    first = small(clip[:5], tail=2)
    second = small(clip[3:], state=first.state, first_frame=3)
    assert (len(first.frames), len(second.frames), second.state) == (3, 4, None)
