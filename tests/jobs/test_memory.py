from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dgafvsr.errors import ResourceError
from dgafvsr.jobs.memory import (
    CONTEXT_BYTES,
    HOST_VALUES,
    SHARE,
    available_bytes,
    expected_bytes,
    plan,
    plan_pipeline,
    standing_bytes,
)
from dgafvsr.jobs.memory_facts import ModelFacts, model_facts
from tests import factories
from tests.pretended_device import PretendedDevice

FACTS = ModelFacts(
    weight_bytes=40_000_000,
    device_weight_bytes=40_000_000,
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
    monkeypatch.setattr("dgafvsr.jobs.memory_facts.NETWORK_FACTOR", 1)
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
    assert needed() < needed(window=window + 1)
    assert needed(decoding="in turns") <= needed()
    assert needed(decoding="in turns") < needed(decoding="side by side")
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
    decoding = "side by side" if chosen.side_by_side else "in turns"
    assert chosen.expected_bytes == expected_bytes(
        width, height, FACTS, window=chosen.window, tile=chosen.tile, decoding=decoding, stored=True
    )


def test_less_memory_shortens_windows_before_it_cuts_tiles():
    shortest = int(expected_bytes(640, 360, FACTS, window=6, decoding="in turns", stored=True) / SHARE)
    plans = [plan(640, 360, FACTS, memory) for memory in (64 * GB, shortest + 10, shortest - 10)]
    assert (plans[0].window, plans[0].tile) == (24, None)
    assert plans[1].tile is None
    assert plans[1].window < 24
    assert plans[-1].tile is not None


def test_only_a_call_on_the_cpu_holds_all_its_frames():
    def grows(**how):
        sizes = [expected_bytes(640, 360, FACTS, window=window, **how) for window in (8, 9)]
        return sizes[1] - sizes[0]

    frame = 4 * 3 * 16 * 640 * 360
    facts_only = grows(decoding="in turns")
    assert facts_only == 4 * (FACTS.held_values + HOST_VALUES) * 640 * 360
    assert grows(device="cuda") < facts_only == grows(decoding="side by side") < frame


def test_the_encoder_of_a_film_holds_pictures_on_the_host_as_far_as_it_looks_ahead():
    def more(window, **how):
        sizes = [expected_bytes(640, 360, FACTS, window=window, stored=stored, **how) for stored in (False, True)]
        return sizes[1] - sizes[0]

    assert 0 < more(8) < more(24) < more(44) == more(100)
    assert more(24) == more(24, decoding="in turns") == more(12, lockstep=2)
    assert more(24, device="cuda") == 0


def test_less_memory_takes_turns_before_it_shortens_windows():
    full = plan(640, 360, FACTS, 64 * GB)
    assert (full.side_by_side, full.window) == (True, 24)
    less = plan(640, 360, FACTS, int(full.expected_bytes / 0.9) - GB // 10)
    assert (less.side_by_side, less.window, less.tile) == (False, 24, None)


def test_what_must_be_kept_is_kept():
    chosen = plan(640, 360, FACTS, 64 * GB, window=5, tile=96, overlap=9)
    assert (chosen.window, chosen.overlap, chosen.tile) == (5, 4, 96)
    assert plan(640, 360, FACTS, 64 * GB, tile=None).tile is None


def test_a_setting_that_cannot_fit_says_what_it_needs_and_what_would_fit():
    with pytest.raises(ResourceError) as caught:
        plan(1280, 720, FACTS, 10 * GB, window=24, tile=None)
    message = str(caught.value)
    for part in ("1280x720", "24 frames and whole frames", "10.0 GB", "use a window of"):
        assert part in message
    with pytest.raises(ResourceError, match="reduce the frames to"):
        plan(3840, 2160, FACTS, 6 * GB)
    with pytest.raises(ResourceError, match="more memory"):
        plan(640, 360, replace(FACTS, weight_bytes=9 * GB), 6 * GB)


def test_pipeline_is_planned_with_the_memory_there_is(monkeypatch):
    assert 0 < available_bytes("cpu") < 2**50
    monkeypatch.setattr("dgafvsr.jobs.memory.available_bytes", lambda device: 64 * GB)
    assert plan_pipeline(factories.pipeline(), 64, 48).window == 24


def test_what_torch_keeps_of_the_job_before_is_free_for_the_next(monkeypatch):
    """cudaMemGetInfo does not say so: the second film of a batch would be planned for what the first one left."""
    said = {"mem_get_info": (1 * GB, 80 * GB), "memory_reserved": 70 * GB, "memory_allocated": 4 * GB}
    for name, value in said.items():
        monkeypatch.setattr(torch.cuda, name, {torch.device("cuda:1"): value}.__getitem__)
    assert available_bytes("cuda:1") == 67 * GB


def test_windows_in_lockstep_need_more_and_are_left_where_they_do_not_fit():
    assert expected_bytes(640, 360, FACTS, window=8) < expected_bytes(640, 360, FACTS, window=8, lockstep=2)
    small, large = (plan(*size, FACTS, 64 * GB, device="cuda") for size in ((320, 180), (1280, 720)))
    assert (small.lockstep, large.lockstep) == (4, 1)
    assert plan(320, 180, FACTS, 64 * GB).lockstep == 1
    assert plan(320, 180, FACTS, 64 * GB, lockstep=3).lockstep == 3
    one = expected_bytes(640, 360, FACTS, window=24, decoding="side by side", stored=True)
    tight = plan(640, 360, FACTS, int(one / SHARE) + 10, lockstep=3)
    assert (tight.lockstep, tight.window) == (1, 24)


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offload_leaves_fewer_weights_on_a_gpu_and_none_less_on_the_host(offload):
    pipe = factories.pipeline()
    every, waiting = model_facts(pipe), model_facts(pipe, offload=offload)
    assert every.device_weight_bytes == every.weight_bytes == waiting.weight_bytes
    assert 0 < waiting.device_weight_bytes < every.weight_bytes
    on_gpu, on_host = (
        [expected_bytes(320, 180, facts, window=8, device=device) for facts in (every, waiting)]
        for device in ("cuda", "cpu")
    )
    assert on_gpu[0] - on_gpu[1] == every.weight_bytes - waiting.device_weight_bytes
    assert on_host[0] == on_host[1]


def test_offloaded_frames_are_not_decoded_beside_the_sampling():
    """The next call would move the networks about meanwhile."""
    assert plan(320, 180, FACTS, 64 * GB, device="cuda").side_by_side
    assert not plan(320, 180, replace(FACTS, offload="model"), 64 * GB, device="cuda").side_by_side


def test_offload_of_a_pipeline_is_seen_and_its_weights_are_not_there_yet(monkeypatch):
    pipe = factories.pipeline()
    pipe.enable_model_cpu_offload(device="cpu")
    assert model_facts(pipe).offload == "model"
    monkeypatch.setattr("dgafvsr.jobs.memory.available_bytes", lambda device: asked.append(device) or 64 * GB)
    monkeypatch.setattr("dgafvsr.jobs.memory.plan", lambda *args, **options: args[3])
    asked, there = [], torch.device("cuda:1")
    standin = SimpleNamespace(components=pipe.components, config=pipe.config, device=there)
    assert plan_pipeline(standin, 64, 48) == 64 * GB + standing_bytes("cuda")
    assert asked == [there]
    resident = SimpleNamespace(components=factories.pipeline().components, config=pipe.config, device=there)
    assert plan_pipeline(resident, 64, 48) == 64 * GB + standing_bytes("cuda") + model_facts(pipe).weight_bytes


def test_what_just_fits_a_gpu_fits_it_too_when_context_and_weights_are_there(monkeypatch):
    """They are not free any more, so a plan that needs them must not find them missing."""
    with PretendedDevice("cuda:1") as device:
        pipe = factories.pipeline().to(device)
        facts = model_facts(pipe)
        card = int(expected_bytes(640, 360, facts, window=6, device="cuda", decoding="in turns") / SHARE) + 1
        free = card - CONTEXT_BYTES - facts.weight_bytes
        said = {"mem_get_info": (free, card), "memory_reserved": 0, "memory_allocated": 0}
        for name, value in said.items():
            monkeypatch.setattr(torch.cuda, name, lambda place, value=value: value)
        fits = plan_pipeline(pipe, 640, 360, window=6, tile=None, lockstep=1)
        assert (fits.window, fits.tile, fits.side_by_side) == (6, None, False)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda place: (free - 10, card))
        with pytest.raises(ResourceError):
            plan_pipeline(pipe, 640, 360, window=6, tile=None, lockstep=1)


def test_what_tiles_keep_between_steps_counts_for_each_of_them():
    """Pixels that tiles share are kept by both: two of 64 cover 104."""
    plain, kept = FACTS, replace(FACTS, reused_values=10)

    def more(tile):
        sizes = [expected_bytes(104, 48, facts, window=7, tile=tile, lockstep=2) for facts in (plain, kept)]
        return sizes[1] - sizes[0]

    assert more(None) == 4 * 7 * 2 * 10 * 104 * 48
    assert more(64) == 4 * 7 * 2 * 10 * 128 * 48


def test_stages_of_the_packaged_decoder_follow_one_another():
    """The one at twice the latent's resolution is gone when the one at full size runs: the larger counts alone."""

    def values(**widths):
        vae = factories.autoencoder()
        vae.register_to_config(**widths)
        return model_facts(factories.pipeline(vae=vae)).decoder_values

    detail, fine = values(detail_width=8, fine_width=0), values(detail_width=1, fine_width=8)
    assert values(detail_width=8, fine_width=8) == max(detail, fine) == fine


@pytest.mark.parametrize("flow", ["dis", "dis_fast"])
def test_every_preset_of_dis_needs_the_same(flow):
    assert model_facts(factories.pipeline(flow=flow)).flow_values == 500
