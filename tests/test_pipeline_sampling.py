"""The pipeline's choices between speed and quality: solvers, reuse, flow scale, noise, presets."""

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from safetensors.torch import load_file, save_file

from dgafvsr.errors import InputError, UsageError
from dgafvsr.flow.dis import DISFlow
from dgafvsr.sampling.reuse import Reuse
from dgafvsr.sampling.windows import stream_windows
from tests import factories

CLIP = factories.clip(frames=4)


@pytest.fixture(scope="module")
def pipe():
    return factories.pipeline()


def in_calls(pipe, clip, folder, length, overlap, **options):
    """What a job does: window by window, with the state through a file."""
    parts, state = [], None
    for window, frames in stream_windows(list(clip), length, overlap):
        result = pipe(np.stack(frames), first_frame=window.start, state=state, tail=window.tail, **options)
        parts.append(np.asarray(result.frames))
        state = result.state
        if state is not None:
            save_file(state, folder / "state.safetensors")
            state = load_file(folder / "state.safetensors")
    return np.concatenate(parts)


@pytest.mark.parametrize(
    "options",
    [
        {"solver": "dpm++", "num_inference_steps": 3},
        {"solver": "unipc", "num_inference_steps": 4},
        {"initial_noise": "transported"},
        {"initial_noise": "transported", "guided": False},
        {"reuse": Reuse(guidance_every=2, features_every=2), "num_inference_steps": 3},
        {"flow_scale": 2, "turns": "guided"},
    ],
)
def test_windows_calls_and_batches_give_the_same_frames(pipe, tmp_path, options):
    clip = factories.clip(frames=8)
    whole = pipe(clip, window=4, overlap=2, **options).frames
    assert np.array_equal(in_calls(pipe, clip, tmp_path, 4, 2, **options), whole)
    # Batched convolutions may sum in another order.
    assert np.allclose(pipe(clip, window=4, overlap=2, window_batch=3, **options).frames, whole, atol=1e-4)


@pytest.mark.parametrize("solver", ["dpm++", "unipc"])
def test_multistep_solvers_work_in_tiles_and_one_tile_is_the_whole(pipe, solver):
    clip = factories.clip(frames=2, height=40, width=70)
    options = {"solver": solver, "num_inference_steps": 4}
    whole = pipe(clip, **options).frames
    assert np.array_equal(pipe(clip, tile=72, **options).frames, whole)
    assert 0 < np.abs(pipe(clip, tile=48, **options).frames - whole).mean() < 0.03  # GroupNorm averages over a tile


def test_solver_is_the_scheduler_of_that_name(pipe):
    scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    named = pipe(CLIP, solver="dpm++", num_inference_steps=4).frames
    assert np.array_equal(named, pipe(CLIP, scheduler=scheduler, num_inference_steps=4).frames)
    assert not np.array_equal(named, pipe(CLIP, num_inference_steps=4).frames)
    assert np.array_equal(pipe(CLIP, solver="ddim").frames, pipe(CLIP).frames)


def test_what_a_call_asks_for_wins_over_the_model_and_the_default_changes_nothing(pipe):
    plain = pipe(CLIP).frames
    same = {"turns": "unguided", "reuse": Reuse(), "flow_scale": 4, "initial_noise": "independent", "guided": True}
    assert np.array_equal(pipe(CLIP, **same).frames, plain)
    for other in ({"turns": "guided"}, {"reuse": Reuse(guidance_every=2)}, {"initial_noise": "shared"}):
        assert not np.array_equal(pipe(CLIP, **other).frames, plain), other


def test_quality_is_its_preset_and_explicit_arguments_win(pipe):
    assert np.array_equal(pipe(CLIP, quality="best").frames, pipe(CLIP).frames)
    fast = pipe(CLIP, quality="fast").frames
    assert not np.array_equal(fast, pipe(CLIP).frames)
    several = pipe(CLIP, quality="fast", num_inference_steps=3).frames
    assert not np.array_equal(several, fast)


def test_flow_at_a_lower_scale_reads_smaller_frames(pipe):
    sizes = []

    def estimator(current, neighbor):
        sizes.append(tuple(current.shape[-2:]))
        return DISFlow()(current, neighbor)

    watched = factories.pipeline()
    watched.flow_estimator = estimator
    for scale in (1, 2, 4):
        watched(CLIP, flow_scale=scale)
    height, width = CLIP.shape[1:3]
    assert sorted(set(sizes)) == [(scale * height, scale * width) for scale in (1, 2, 4)]


def test_transported_noise_is_independent_of_windows_and_tiles():
    """Without guidance only noise could tell windows apart."""
    pipe, clip = factories.pipeline(initial_noise="transported"), factories.clip(frames=9, height=40, width=70)
    whole = pipe(clip, guided=False).frames
    for options in ({"window": 4, "overlap": 1}, {"window": 5, "overlap": 3, "window_batch": 2}):
        assert np.allclose(pipe(clip, guided=False, **options).frames, whole, atol=1e-4)
    tiled = pipe(clip, guided=False, tile=48).frames
    assert np.allclose(pipe(clip, guided=False, tile=48, window=4, overlap=1).frames, tiled, atol=1e-4)


def test_transported_noise_is_one_noise_where_nothing_moves():
    still = np.repeat(CLIP[:1], 3, axis=0)
    frames = factories.pipeline(initial_noise="transported")(still, guided=False).frames
    assert np.array_equal(frames[0], frames[2])


def test_given_flows_carry_the_noise():
    pipe, shape = factories.pipeline(), (3, 2, 4 * CLIP.shape[1], 4 * CLIP.shape[2])
    still = (torch.zeros(shape), torch.zeros(shape))
    moving = (torch.full(shape, 8.0), torch.full(shape, -8.0))
    options = {"initial_noise": "transported", "guided": False}
    first, second = (pipe(CLIP, flows=flows, **options).frames for flows in (still, moving))
    assert np.array_equal(first[0], second[0])
    assert not np.array_equal(first[1], second[1])


def test_transported_noise_needs_the_state_of_its_own_kind(pipe):
    state = pipe(CLIP, tail=2).state
    with pytest.raises(InputError, match="its noise"):
        pipe(CLIP[2:], state=state, first_frame=2, initial_noise="transported")


def test_latents_of_the_caller_are_not_replaced(pipe):
    latents = torch.randn(4, 4, *CLIP.shape[1:3], generator=torch.Generator().manual_seed(0))
    given = pipe(CLIP, latents=latents).frames
    assert np.array_equal(pipe(CLIP, latents=latents, initial_noise="transported").frames, given)


@pytest.mark.parametrize(
    "wrong",
    [
        {"solver": "euler"},
        {"turns": "left"},
        {"flow_scale": 3},
        {"initial_noise": "loud"},
        {"quality": "good"},
        {"reuse": Reuse(guidance_every=(5,))},
    ],
)
def test_choices_that_there_are_not_are_refused(pipe, wrong):
    with pytest.raises(UsageError):
        pipe(CLIP, **wrong)
