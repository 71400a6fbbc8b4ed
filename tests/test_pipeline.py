import json

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from PIL import Image
from safetensors.torch import load_file, save_file

from dgafvsr import DGAFVSRPipeline
from dgafvsr.errors import InputError, ModelError, UsageError
from dgafvsr.flow.dis import DISFlow
from dgafvsr.flow.estimator import create_flow_estimator
from dgafvsr.flow.fm import bidirectional_flows
from dgafvsr.sampling.noise import SequentialNoise
from dgafvsr.sampling.ogwm import OGWM
from dgafvsr.sampling.windows import stream_windows
from tests import factories

CLIP = factories.clip()
T, H, W = CLIP.shape[:3]


@pytest.fixture(scope="module")
def pipe():
    return factories.pipeline()


def test_output_types_hold_the_same_frames(pipe):
    array = pipe(CLIP).frames
    assert array.shape == (T, 4 * H, 4 * W, 3)
    assert 0 <= array.min() < array.max() <= 1
    tensor = pipe(CLIP, output_type="pt").frames
    assert np.array_equal(tensor.permute(0, 2, 3, 1).numpy(), array)
    pictures = pipe(CLIP, output_type="pil").frames
    assert np.array_equal(np.stack(pictures), (array * 255).round().astype(np.uint8))
    assert pipe(CLIP, output_type="latent").frames.shape == (T, 4, H, W)


def test_inputs_of_every_kind_mean_the_same_clip(pipe):
    expected = pipe(CLIP).frames
    floats = CLIP.astype(np.float32) / 255
    tensor = torch.from_numpy(floats).permute(0, 3, 1, 2)
    pictures = [Image.fromarray(frame) for frame in CLIP]
    assert all(np.array_equal(pipe(frames).frames, expected) for frames in (floats, tensor, pictures))


def test_same_seed_same_frames_and_another_seed_others(pipe):
    first, again, other = (pipe(CLIP, seed=seed).frames for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_inputs_are_not_written_to(pipe):
    frames, latents = CLIP.copy(), torch.randn(T, 4, H, W)
    before = latents.clone()
    pipe(frames, latents=latents)
    assert np.array_equal(frames, CLIP)
    assert torch.equal(latents, before)


def test_given_flows_are_what_would_have_been_computed(pipe):
    lr = torch.from_numpy(CLIP).permute(0, 3, 1, 2).float() / 255
    from dgafvsr.flow.dis import DISFlow

    flows = bidirectional_flows(lr, DISFlow())
    assert np.array_equal(pipe(CLIP, flows=(flows.forward, flows.backward)).frames, pipe(CLIP).frames)


def test_guidance_matters_and_can_be_left_out(pipe):
    assert not np.array_equal(pipe(CLIP).frames, pipe(CLIP, guided=False).frames)


def test_unguided_frames_do_not_depend_on_windows(pipe):
    """Noise belongs to the frame's index, so only guidance can tell windows apart."""
    long = factories.clip(frames=7)
    whole = pipe(long, guided=False).frames
    assert np.allclose(pipe(long, guided=False, window=3, overlap=1).frames, whole, atol=1e-5)
    assert np.allclose(pipe(long[4:], guided=False, first_frame=4).frames, whole[4:], atol=1e-5)


def test_windows_in_lockstep_equal_windows_in_turn(pipe):
    long = factories.clip(frames=8)
    in_turn = pipe(long, window=3, overlap=1).frames
    assert np.allclose(pipe(long, window=3, overlap=1, window_batch=4).frames, in_turn, atol=1e-4)


@pytest.mark.parametrize("output_type", ["np", "latent"])
def test_calls_that_share_frames_equal_one_call_with_windows(pipe, output_type, tmp_path):
    """What a job does window by window, with the state through a file, is what one call does."""
    long = factories.clip(frames=8)
    whole = pipe(long, window=4, overlap=2, output_type=output_type).frames
    parts, state = [], None
    for window, frames in stream_windows(list(long), 4, 2):
        result = pipe(
            np.stack(frames), first_frame=window.start, state=state, tail=window.tail, output_type=output_type
        )
        parts.append(np.asarray(result.frames))
        state = result.state
        if state is not None:
            save_file(state, tmp_path / "state.safetensors")
            state = load_file(tmp_path / "state.safetensors")
    assert state is None
    assert np.array_equal(np.concatenate(parts), np.asarray(whole))


def test_inner_windows_keep_the_outer_head_and_tail(pipe):
    """The out-of-memory fallback cuts a call into smaller windows without its neighbours knowing."""
    long = factories.clip(frames=9)
    first = pipe(long[:5], tail=2)
    second = pipe(long[3:], first_frame=3, state=first.state, window=3, overlap=2, tail=2)
    assert (len(first.frames), len(second.frames)) == (3, 4)
    third = pipe(long[7:], first_frame=7, state=second.state)
    assert (len(third.frames), third.state) == (2, None)


class CountedFlow:
    """DIS, and how often it was asked."""

    def __init__(self):
        self.asked, self._dis = 0, DISFlow()

    def __call__(self, current, neighbor):
        self.asked += 1
        return self._dis(current, neighbor)


@pytest.mark.parametrize("window_batch", [1, 3])
def test_flow_of_frames_that_windows_share_is_estimated_once(window_batch):
    pipe, long = factories.pipeline(), factories.clip(frames=9)
    pipe.flow_estimator = CountedFlow()
    first = pipe(long[:7], window=5, overlap=3, tail=3, window_batch=window_batch)
    pipe(long[4:], first_frame=4, state=first.state, window=4, overlap=3, window_batch=window_batch)
    assert pipe.flow_estimator.asked == 2 * (len(long) - 1)


@pytest.mark.parametrize("warp", ["released", "centered"])
def test_flow_that_was_handed_on_is_what_it_would_be_estimated_as(warp):
    pipe, long = factories.pipeline(warp=warp), factories.clip(frames=8)
    state = pipe(long[:5], tail=3).state
    alone = {name: state[name] for name in state if not name.startswith("flow")}
    assert ("flow_forward" in state) == (warp == "released")  # what centered warping keeps would be 16 times as large
    taken, estimated = (pipe(long[2:], first_frame=2, state=each).frames for each in (state, alone))
    assert np.array_equal(taken, estimated)


def test_flow_of_other_settings_is_not_taken_over(pipe):
    long, unguided = factories.clip(frames=6), {"guided": False, "initial_noise": "transported"}
    guided, noise = pipe(long[:5], tail=3).state, pipe(long[:5], tail=3, **unguided).state
    alone = {name: noise[name] for name in noise if not name.startswith("flow")}
    mixed = guided | alone
    taken, estimated = (pipe(long[2:], first_frame=2, state=each, **unguided).frames for each in (mixed, alone))
    assert np.array_equal(taken, estimated)


def test_state_is_small_and_on_the_cpu(pipe):
    state = pipe(CLIP, tail=2).state
    assert all(tensor.device.type == "cpu" and tensor.is_contiguous() for tensor in state.values())
    assert sum(tensor.nbytes for tensor in state.values()) < 100 * CLIP[:2].nbytes


@pytest.mark.parametrize("frames", [1, 2])
def test_short_clips(pipe, frames):
    assert len(pipe(CLIP[:frames]).frames) == frames


def test_scheduler_can_be_replaced(pipe):
    frames = pipe(CLIP, scheduler=DDPMScheduler(prediction_type="v_prediction"), num_inference_steps=3).frames
    assert not np.array_equal(frames, pipe(CLIP, num_inference_steps=3).frames)


def test_listeners_hear_every_visit_and_every_sweep(pipe):
    visits, sweeps = [], []
    pipe(
        CLIP,
        num_inference_steps=3,
        on_event=lambda event: visits.append((event.step, event.frame)),
        callback_on_step_end=lambda _, step, timestep, state: sweeps.append((step, state["latents"].shape)),
    )
    assert len(visits) == 3 * T
    assert sweeps == [(step, (1, T, 4, H, W)) for step in range(3)]


def test_vae_tiling_keeps_the_frames(pipe):
    whole = pipe(CLIP).frames
    pipe.vae.enable_tiling(tile=8)
    tiled = pipe(CLIP).frames
    pipe.disable_vae_tiling()
    assert np.allclose(tiled, whole, atol=1e-5)


def test_tile_as_large_as_the_frame_changes_nothing_and_smaller_ones_little():
    large = factories.clip(frames=2, height=40, width=70)
    pipe = factories.pipeline()
    whole = pipe(large).frames
    assert np.array_equal(pipe(large, tile=72).frames, whole)
    tiled = pipe(large, tile=48, tile_overlap=16).frames
    assert 0 < np.abs(tiled - whole).mean() < 0.02  # GroupNorm averages over a tile
    assert not pipe.vae.use_tiling


def test_pixel_guidance_is_cut_at_full_size(parity):
    """StableVSR aligns decoded frames, four times as large as the latents that the tiles are planned on."""
    model = parity / "dgafvsr" / "model"
    pipe = DGAFVSRPipeline.from_pretrained(model, guidance=parity / "stablevsr" / "controlnet", flow="dis")
    clip = factories.clip(frames=2, height=32, width=48)
    tiled = pipe(clip, num_inference_steps=2, tile=40, tile_overlap=8).frames
    assert tiled.shape == (2, 128, 192, 3)
    assert not np.array_equal(tiled, pipe(clip, num_inference_steps=2).frames)


def test_saved_pipeline_is_the_same(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    again = DGAFVSRPipeline.from_pretrained(tmp_path)
    assert again.default_steps == 2
    assert np.array_equal(again(CLIP).frames, pipe(CLIP).frames)


def test_half_precision_is_close(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    half = DGAFVSRPipeline.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert half.unet.dtype == half.vae.dtype == torch.bfloat16
    difference = np.abs(half(CLIP).frames - pipe(CLIP).frames)
    assert difference.mean() < 0.02  # bfloat16 has 8 bits; a random network with two steps hardly damps them


def test_class_labels_follow_the_noise_level():
    unet = factories.denoiser(num_class_embeds=9)
    pipe = factories.pipeline(unet=unet, guidance=factories.guidance(unet), low_res_scheduler=DDPMScheduler())
    assert not np.array_equal(pipe(CLIP, noise_level=0).frames, pipe(CLIP, noise_level=8).frames)
    with pytest.raises(UsageError, match="0 to 8"):
        pipe(CLIP, noise_level=9)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frames"),
        (CLIP[:0], "wrong shape"),
        (CLIP[..., :2], "wrong shape"),
        (CLIP.astype(np.float32), "out of range"),
        (CLIP[:, :15], "too small"),
        (torch.full((1, 3, 16, 16), float("nan")), "out of range"),
        ([Image.new("RGB", (16, 16)), Image.new("RGB", (16, 17))], "differ in size"),
        (["a.png"], "not a picture"),
    ],
)
def test_unusable_frames_are_refused(pipe, frames, message):
    with pytest.raises(InputError, match=message):
        pipe(frames)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"latents": torch.zeros(T, 4, H, W + 1)}, InputError),
        ({"flows": (torch.zeros(T, 2, 4 * H, 4 * W),) * 2}, InputError),
        ({"output_type": "gif"}, UsageError),
        ({"window": 2, "overlap": 2}, UsageError),
        ({"window_batch": 0}, UsageError),
        ({"noise_level": 3}, UsageError),
        ({"num_inference_steps": 0}, UsageError),
        ({"tail": T}, UsageError),
        ({"tile": 16}, UsageError),
        ({"tile": 32, "tile_overlap": 17}, UsageError),
        ({"state": {}}, InputError),
        ({"state": {"latents": torch.zeros(2, 4, H, W + 1)}}, InputError),
        ({"state": {"latents": torch.zeros(T + 1, 4, H, W)}}, InputError),
        ({"window": 2, "noise": SequentialNoise(torch.Generator())}, UsageError),
    ],
)
def test_options_that_do_not_fit_are_refused(pipe, options, error):
    with pytest.raises(error):
        pipe(CLIP, **options)


def test_values_that_are_not_numbers_are_an_error(pipe):
    with pytest.raises(ModelError, match="not numbers"):
        pipe(CLIP, latents=torch.full((T, 4, H, W), float("nan")))


@pytest.mark.parametrize("setting", [{"warp": "sideways"}, {"initial_noise": "loud"}, {"turns": "left"}])
def test_unknown_settings_are_refused(setting):
    with pytest.raises(ModelError, match=f"Unknown setting of a model: {next(iter(setting))}"):
        factories.pipeline(**setting)


def test_guided_turns_are_kept_with_the_model_and_absent_ones_are_unguided(pipe, tmp_path):
    guided = factories.pipeline(turns="guided")
    assert not np.array_equal(guided(CLIP).frames, pipe(CLIP).frames)
    guided.save_pretrained(tmp_path)
    assert np.array_equal(DGAFVSRPipeline.from_pretrained(tmp_path)(CLIP).frames, guided(CLIP).frames)
    index = tmp_path / "model_index.json"
    index.write_text(index.read_text().replace('"guided"', '"left"'))
    with pytest.raises(ModelError, match="turns"):
        DGAFVSRPipeline.from_pretrained(tmp_path)
    index.write_text(json.dumps({key: value for key, value in json.loads(index.read_text()).items() if key != "turns"}))
    assert np.array_equal(DGAFVSRPipeline.from_pretrained(tmp_path)(CLIP).frames, pipe(CLIP).frames)


def test_ablations_replace_the_warp():
    pipe = factories.pipeline()
    whole = pipe(CLIP).frames
    pipe.ogwm = OGWM(rescaling="bicubic")
    assert not np.array_equal(pipe(CLIP).frames, whole)


def test_shared_initial_noise_makes_still_frames_alike():
    still = np.repeat(CLIP[:1], 3, axis=0)
    own, shared = (
        factories.pipeline(initial_noise=kind)(still, guided=False).frames for kind in ("independent", "shared")
    )
    assert np.array_equal(shared[0], shared[2])
    assert not np.array_equal(own[0], own[2])


def test_guidance_that_reads_the_reliability_of_the_flow():
    """Flows that are estimated and the same flows handed in give the same frames; trust changes them."""
    unet = factories.denoiser()
    network = factories.guidance(unet, reliability=True)
    pipe = factories.pipeline(unet=unet, guidance=network)
    clip = torch.from_numpy(CLIP).permute(0, 3, 1, 2).float() / 255
    flows = bidirectional_flows(clip, create_flow_estimator("dis"))
    blind = factories.pipeline(unet=unet, guidance=factories.guidance(unet))(CLIP).frames
    np.testing.assert_allclose(pipe(CLIP).frames, blind, rtol=0, atol=1e-5)  # its weights for the channel are zero yet
    with torch.no_grad():
        network.conv_in.weight[:, -1] = 0.3
    seeing = pipe(CLIP).frames
    assert abs(seeing - blind).max() > 1e-3
    np.testing.assert_array_equal(pipe(CLIP, flows=(flows.forward, flows.backward)).frames, seeing)
    assert np.isfinite(pipe(CLIP, initial_noise="transported").frames).all()
