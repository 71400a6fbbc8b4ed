import os
import platform
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dgafvsr.errors import ResourceError
from dgafvsr.jobs.memory import (
    ModelFacts,
    available_bytes,
    expected_bytes,
    model_facts,
    plan,
    plan_pipeline,
    return_freed_memory,
)
from tests import factories

FACTS = ModelFacts(
    weight_bytes=40_000_000,
    value_bytes=4,
    network_values=1800,
    decoder_values=1200,
    decoder_value_bytes=4,
    flow_values=1200,
    held_values=18,
)
GB = 10**9


def test_facts_follow_from_the_networks():
    pipe = factories.pipeline()
    facts = model_facts(pipe)
    networks = (pipe.unet, pipe.guidance, pipe.vae)
    assert facts.weight_bytes == 4 * sum(p.numel() for network in networks for p in network.parameters())
    assert (facts.value_bytes, facts.decoder_value_bytes) == (4, 4)
    assert facts.held_values == 14 + 4
    assert model_facts(factories.pipeline(warp="centered")).held_values == 14 + 4 * 16


def test_network_values_count_every_tap(monkeypatch):
    """What the formula says of a guided visit is what G_U really hands over, in values per latent pixel."""
    pipe = factories.pipeline()
    side = 16  # divides by the stride, so that no level rounds
    blank = torch.zeros(1, 4, side, side)
    with torch.no_grad():
        residuals = pipe.guidance(blank, blank[:, :3], blank, 0)
    counted = sum(r.numel() for r in (*residuals.down, *residuals.up)) / side**2
    monkeypatch.setattr("dgafvsr.jobs.memory.NETWORK_FACTOR", 1)
    assert model_facts(pipe).network_values == pytest.approx(2 * counted)


def test_half_precision_needs_less_on_cuda():
    full, half = factories.pipeline(), factories.pipeline().to(torch.bfloat16)
    facts = [replace(model_facts(pipe), flow_values=0) for pipe in (full, half)]
    sizes = [expected_bytes(640, 360, each, window=2, device="cuda") for each in facts]
    assert sizes[1] < sizes[0]


def test_pipelines_without_guidance_need_no_flow():
    facts = model_facts(factories.pipeline(guidance=None))
    assert (facts.flow_values, facts.held_values) == (0, 14)


@settings(deadline=None)
@given(width=st.integers(16, 2000), height=st.integers(16, 2000), window=st.integers(1, 40), tile=st.integers(32, 600))
def test_more_of_anything_never_needs_less(width, height, window, tile):
    def needed(**changes):
        return expected_bytes(**({"width": width, "height": height, "window": window, "facts": FACTS} | changes))

    assert needed(tile=tile) <= needed()
    assert needed(tile=tile) <= needed(tile=tile + 8)
    assert needed() < needed(window=window + 1) < needed(window=window + 1, waiting=3)
    assert needed() < needed(width=width + 1, height=height + 1)


@settings(deadline=None)
@given(memory=st.integers(2 * GB, 80 * GB), width=st.integers(64, 1920), height=st.integers(64, 1080))
def test_a_plan_fits_or_says_what_would(memory, width, height):
    try:
        chosen = plan(width, height, FACTS, memory)
    except ResourceError:
        chosen = None
    if chosen is None:
        with pytest.raises(ResourceError, match="reduce the frames to"):
            plan(width, height, FACTS, memory)
        return
    assert chosen.expected_bytes <= memory
    assert 0 <= chosen.overlap < chosen.window
    assert chosen.expected_bytes == expected_bytes(
        width, height, FACTS, window=chosen.window, tile=chosen.tile, waiting=chosen.window - chosen.overlap
    )


def test_less_memory_shortens_windows_before_it_cuts_tiles():
    plans = [plan(640, 360, FACTS, int(memory * GB)) for memory in (64, 4.3, 3.9, 3)]
    assert (plans[0].window, plans[0].tile) == (24, None)
    assert plans[1].tile is None
    assert plans[1].window < 24
    assert plans[-1].tile is not None


def test_cuda_keeps_no_finished_frames():
    sizes = [expected_bytes(640, 360, FACTS, window=8, device="cuda", waiting=waiting) for waiting in (0, 20)]
    assert sizes[0] == sizes[1] < expected_bytes(640, 360, FACTS, window=8)


def test_what_must_be_kept_is_kept():
    chosen = plan(640, 360, FACTS, 64 * GB, window=5, tile=96, overlap=9)
    assert (chosen.window, chosen.overlap, chosen.tile) == (5, 4, 96)
    assert plan(640, 360, FACTS, 64 * GB, tile=None).tile is None


def test_a_setting_that_cannot_fit_says_what_it_needs_and_what_would_fit():
    with pytest.raises(ResourceError) as caught:
        plan(1280, 720, FACTS, 12 * GB, window=24, tile=None)
    message = str(caught.value)
    for part in ("1280x720", "24 frames and whole frames", "12.0 GB", "use a window of"):
        assert part in message
    with pytest.raises(ResourceError, match="reduce the frames to"):
        plan(3840, 2160, FACTS, 6 * GB)
    with pytest.raises(ResourceError, match="more memory"):
        plan(640, 360, replace(FACTS, weight_bytes=9 * GB), 6 * GB)


def test_pipeline_is_planned_with_the_memory_there_is(monkeypatch):
    assert 0 < available_bytes("cpu") < 2**50
    monkeypatch.setattr("dgafvsr.jobs.memory.available_bytes", lambda device: 64 * GB)
    assert plan_pipeline(factories.pipeline(), 64, 48).window == 24


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are not asked")
def test_freed_memory_goes_back_to_the_system():
    def resident():
        return os.sysconf("SC_PAGE_SIZE") * int(Path("/proc/self/statm").read_text().split()[1])

    blocks = [bytearray(64 * 1024) for _ in range(2000)]
    last = blocks.pop()  # at the end of the heap: without it the allocator gives the rest back by itself
    blocks.clear()
    before = resident()
    return_freed_memory()
    assert before - resident() > 50_000_000
    assert len(last) == 64 * 1024
