import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dgafvsr.errors import ResourceError
from dgafvsr.jobs import fallback
from dgafvsr.jobs.fallback import FallbackUpscaler, Reduction
from dgafvsr.models import compiling
from dgafvsr.models.execution import Execution
from dgafvsr.models.lazy_frames import LazyFrames
from tests import factories
from tests.pretended_device import PretendedDevice

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
    assert len(list(result.frames)) == 8
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
        with pytest.raises(type(error)):
            FallbackUpscaler(Hungry(0, error))(FRAMES)


def test_real_pipeline_takes_what_the_fallback_asks():
    """The same head and tail, whatever happens inside."""
    pipe = factories.pipeline()
    clip = factories.clip(frames=7, height=40, width=70)
    small = FallbackUpscaler(pipe, start=Reduction(window=3, tile=48))
    first = small(clip[:5], tail=2)
    second = small(clip[3:], state=first.state, first_frame=3)
    assert (len(list(first.frames)), len(list(second.frames)), second.state) == (3, 4, None)


class HungryDecoder:
    """A pipeline whose frames are decoded later and need memory for `limit` latent pixels, or to be alone."""

    device, default_steps, components = "cuda:0", 4, {}

    def __init__(self, limit=10**9, *, shared=10**9, calls_fit=lambda: True):
        self.limit, self.shared, self.calls_fit = limit, shared, calls_fit
        self.called, self.calling, self.decoded = 0, False, []

    def __call__(self, frames, *, tail, **options):
        self.called += 1
        if not self.calls_fit():
            raise torch.OutOfMemoryError("full")
        lr = torch.from_numpy(np.asarray(frames[: len(frames) - tail])).permute(0, 3, 1, 2)
        lazy = LazyFrames(DecoderOf(self), torch.zeros(len(lr), 4, *lr.shape[-2:]), lr, torch.device("cpu"))
        return SimpleNamespace(frames=lazy, state=None)


@dataclass(frozen=True)
class DecoderOf:
    owner: HungryDecoder
    tile: int | None = None

    def decode_pixels(self, latents, lr):
        self.owner.decoded.append(self.tile)
        height, width = latents.shape[-2:]
        limit = self.owner.shared if self.owner.calling else self.owner.limit
        if min(height, self.tile or height) * min(width, self.tile or width) > limit:
            raise torch.OutOfMemoryError("full")
        return lr.repeat_interleave(4, dim=-1).repeat_interleave(4, dim=-2)


def test_decoding_falls_back_to_tiles_and_keeps_them():
    pipe = HungryDecoder(60 * 80)
    upscaler = FallbackUpscaler(pipe)
    frames = upscaler(FRAMES[:2]).frames
    assert [picture.shape for picture in frames] == [(400, 640, 3)] * 2
    assert pipe.decoded == [None, None, 80, 64, 64]  # twice whole: the second time with nothing beside it
    assert frames.notes == [
        "The memory is too small to decode 160x100 frames; going on with tiles of 80 pixels",
        "The memory is too small to decode 160x100 frames; going on with tiles of 64 pixels",
    ]
    list(upscaler(FRAMES[:1]).frames)
    assert pipe.decoded[5:] == [64]
    assert upscaler.reduction == Reduction()  # sampling has not changed
    assert frames.tile == 64


def test_decoding_goes_on_in_the_tiles_of_an_earlier_run():
    pipe = HungryDecoder(60 * 80)
    upscaler = FallbackUpscaler(pipe, start=Reduction(decoding_tile=64))
    list(upscaler(FRAMES[:1]).frames)
    with upscaler.reduced_to(Reduction(decoding_tile=48)):  # a window that is made again
        list(upscaler(FRAMES[:1]).frames)
    assert pipe.decoded == [64, 48]


def test_decoding_that_never_fits_says_so():
    with pytest.raises(ResourceError, match="decode frames of 160x100, even in tiles of 64"):
        list(FallbackUpscaler(HungryDecoder(10))(FRAMES[:1]).frames)


def test_a_call_that_does_not_fit_beside_decoding_waits_for_it_and_stays_whole():
    pipe = HungryDecoder()
    upscaler = FallbackUpscaler(pipe)
    before = upscaler(FRAMES[:2]).frames
    pictures = iter(before)
    next(pictures)
    pipe.calls_fit = lambda: pipe.called != 2  # the first attempt, with pictures still to be decoded
    result = upscaler(FRAMES)
    assert (pipe.called, upscaler.warnings, upscaler.reduction) == (3, [], Reduction())
    assert len(list(pictures)) == 1
    assert len(list(result.frames)) == 12


def test_a_picture_that_does_not_fit_beside_a_call_waits_for_its_end():
    started, go_on = threading.Event(), threading.Event()
    pipe = HungryDecoder(shared=10)

    def hold():
        pipe.calling = pipe.called == 2
        if pipe.calling:
            started.set()
            assert go_on.wait(10)
            pipe.calling = False
        return True

    pipe.calls_fit = hold
    upscaler = FallbackUpscaler(pipe)
    first = upscaler(FRAMES[:1]).frames
    with ThreadPoolExecutor(2) as threads:
        second = threads.submit(upscaler, FRAMES[:1])
        assert started.wait(10)
        taken = threads.submit(list, first)
        while not pipe.decoded:
            time.sleep(0.001)
        assert not taken.done()
        go_on.set()
        assert len(taken.result(10)) == 1
        second.result(10)
    assert (pipe.decoded, first.notes) == ([None, None], [])


def test_windows_in_lockstep_are_taken_one_by_one_before_they_are_shortened():
    pipe = Hungry(10**9)
    together = {"window": 6, "overlap": 3, "window_batch": 2}
    FallbackUpscaler(pipe)(FRAMES, tail=3, **together)
    assert pipe.calls[0] == together | {"tile": None, "tail": 3, "state": None}

    class Narrow(Hungry):
        def __call__(self, frames, *, window_batch=1, **options):
            if window_batch > 1:
                self.calls.append({"window": "together", "tile": None})
                raise self.error
            return super().__call__(frames, **options)

    pipe = Narrow(4 * 100 * 160)
    upscaler = FallbackUpscaler(pipe)
    upscaler(FRAMES, **together)
    assert settings(pipe.calls) == [("together", None), (6, None), (3, None)]
    assert upscaler.reduction == Reduction(window=3, one_by_one=True)
    assert upscaler.warnings[0].endswith("going on with windows of 6 frames, one after the other")
    upscaler(FRAMES, **together)
    assert settings(pipe.calls)[3:] == [(3, None)]


def test_real_pipeline_gives_the_same_frames_in_lockstep():
    pipe = factories.pipeline()
    clip = factories.clip(frames=7, height=40, width=48)
    apart = pipe(clip, window=3, overlap=1).frames
    together = FallbackUpscaler(pipe)(clip, window=3, overlap=1, window_batch=3, output_type="lazy").frames
    np.testing.assert_allclose(np.stack(list(together)), apart, rtol=0, atol=2e-5)  # other sums, same frames


class Graphed(Hungry):
    """A pipeline of networks that run as CUDA graphs, which take all the memory; without, it holds `limit`."""

    def __init__(self, limit, device, execution):
        super().__init__(limit)
        unet = factories.denoiser().to(device)
        self.components = {"unet": unet, "guidance": factories.guidance(unet).to(device), "tokenizer": object()}
        self.execution = execution

    def __call__(self, frames, **options):
        networks = self.components["unet"], self.components["guidance"]
        self.execution.arrange(*networks)
        self.calls.append({"window": "graphs", "tile": None})
        if compiling.hold_graphs(self.components.values()):
            raise self.error
        self.calls.pop()
        return super().__call__(frames, **options)


@pytest.fixture
def told(monkeypatch):
    """What happened to the compiler and to torch's cache; torch.compile gives the function as it is."""
    happened = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    monkeypatch.setattr(compiling, "compiler_fault", lambda kind: None)
    monkeypatch.setattr(torch.compiler, "reset", lambda: happened.append("graphs freed"))
    monkeypatch.setattr(fallback, "_free_caches", lambda: happened.append("cache emptied"))
    return happened


def test_compiled_networks_give_up_their_graphs_before_anything_is_made_smaller(told):
    with PretendedDevice("cuda:1") as cuda:
        pipe = Graphed(7 * 100 * 160, cuda, Execution(compiled=True))
        upscaler = FallbackUpscaler(pipe)
        upscaler(FRAMES)
        assert settings(pipe.calls) == [("graphs", None), (None, None), (6, None)]
        assert told == ["cache emptied", "graphs freed", "cache emptied", "cache emptied"]
        assert upscaler.reduction == Reduction(window=6, uncompiled=True)
        assert len(upscaler.warnings) == 2
        assert upscaler.warnings[0].endswith("all frames together; going on with all frames together, uncompiled")
        upscaler(FRAMES)  # the pipeline asks for compiled networks at every call
        assert settings(pipe.calls)[3:] == [(6, None)]


def test_a_job_that_went_on_uncompiled_is_not_compiled_again(told):
    with PretendedDevice("cuda:1") as cuda:
        pipe = Graphed(10**9, cuda, Execution(compiled=True))
        FallbackUpscaler(pipe, start=Reduction(uncompiled=True))(FRAMES)
        assert (settings(pipe.calls), told) == ([(None, None)], [])


@pytest.mark.parametrize(("place", "compiled"), [("cuda:1", False), ("cpu", True)])
def test_networks_without_graphs_are_left_as_they_are(told, place, compiled):
    with PretendedDevice("cuda:1"):
        pipe = Graphed(7 * 100 * 160, place, Execution(compiled=compiled))
        upscaler = FallbackUpscaler(pipe)
        upscaler(FRAMES)
        assert settings(pipe.calls) == [(None, None), (6, None)]
        assert (upscaler.reduction, told) == (Reduction(window=6), ["cache emptied"])
        assert (pipe.components["unet"].compiled is not None) == compiled
