"""What a job is asked of sampling: it reaches the model, and it stands in the manifest."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dgafvsr.errors import InterruptionError, UsageError
from dgafvsr.jobs.memory_facts import model_facts
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.upscale import upscale_file
from dgafvsr.sampling.presets import SamplingChoice, preset
from dgafvsr.sampling.reuse import Reuse
from tests import factories
from tests.jobs.standins import STEPS, Nearest, job_of, lossless, pixels_of
from tests.video.films import pictures


class Telling(Nearest):
    """Tells what it was asked of sampling; can be made to break after some windows."""

    def __init__(self, windows=99):
        super().__init__()
        self.asked, self._windows = [], windows

    def __call__(self, frames, *, solver=None, turns=None, reuse=None, flow_scale=None, initial_noise=None, **options):
        if len(self.asked) == self._windows:
            raise InterruptionError("enough")
        self.asked.append((options["num_inference_steps"], solver, turns, reuse, flow_scale, initial_noise))
        return super().__call__(frames, **options)


def manifest(film, target, settings):
    with pytest.raises(InterruptionError):
        upscale_file(film, target, Telling(1), settings)
    return json.loads((job_of(target) / "manifest.json").read_text())["settings"]


def film_in(tmp_path, frames=8):
    (tmp_path / "in").mkdir()
    return lossless(tmp_path / "in" / "a.mkv", pictures(frames))


def test_what_is_asked_for_reaches_the_model(tmp_path):
    upscaler, reuse = Telling(), Reuse(guidance_every=(0,))
    choice = SamplingChoice(solver="unipc", turns="guided", reuse=reuse, flow_scale=2, initial_noise="shared")
    upscale_file(film_in(tmp_path), tmp_path / "out", upscaler, UpscaleSettings(steps=4, sampling=choice))
    assert upscaler.asked == [(4, "unipc", "guided", reuse, 2, "shared")]


def test_a_preset_is_resolved_for_the_model_and_explicit_settings_win(tmp_path):
    fast = preset("fast", STEPS)
    upscaler = Telling()
    settings = UpscaleSettings(quality="fast", sampling=SamplingChoice(flow_scale=4))
    upscale_file(film_in(tmp_path), tmp_path / "out", upscaler, settings)
    assert upscaler.asked == [(fast.steps, fast.solver, fast.turns, fast.reuse, 4, None)]


def test_the_manifest_holds_what_the_preset_means_and_the_job_goes_on_with_just_that(tmp_path):
    film, target = film_in(tmp_path), tmp_path / "out"
    base = UpscaleSettings(window=4, overlap=1)
    told = manifest(film, target, replace(base, quality="fast"))
    fast = preset("fast", STEPS)
    assert "quality" not in told
    assert (told["steps"], told["flow_scale"]) == (fast.steps, fast.flow_scale)
    with pytest.raises(UsageError, match="other settings"):
        upscale_file(film, target, Telling(), base)
    explicit = replace(base, steps=fast.steps, sampling=replace(fast, steps=None))
    summary = upscale_file(film, target, Telling(), explicit)
    assert summary.frames_resumed == 3


def test_reuse_stands_in_the_manifest_field_by_field(tmp_path):
    choice = SamplingChoice(reuse=Reuse(guidance_every=(0, 2), features_every=3))
    told = manifest(film_in(tmp_path), tmp_path / "out", UpscaleSettings(window=4, overlap=1, sampling=choice))
    assert told["reuse"] == {"guidance_every": [0, 2], "guidance_between": "reused", "features_every": 3}


def test_nothing_asked_for_is_nothing_told(tmp_path):
    told = manifest(film_in(tmp_path), tmp_path / "out", UpscaleSettings(window=4, overlap=1))
    assert not {"solver", "turns", "reuse", "flow_scale", "initial_noise", "quality"} & set(told)


def test_unknown_quality_is_refused():
    with pytest.raises(UsageError, match="Unknown quality"):
        UpscaleSettings(quality="good")


@pytest.mark.parametrize(
    "choice",
    [SamplingChoice(initial_noise="transported"), SamplingChoice(solver="dpm++", reuse=Reuse(features_every=2))],
)
def test_a_resumed_job_of_a_real_model_gives_the_same_frames(tmp_path, choice):
    film = film_in(tmp_path, frames=9)
    settings = UpscaleSettings(steps=2, window=4, overlap=1, tile=None, sampling=choice)
    pipe = factories.pipeline()
    whole = pixels_of(upscale_file(film, tmp_path / "in" / "whole", pipe, settings).output)
    calls = iter(range(10**6))
    with pytest.raises(InterruptionError):
        upscale_file(film, tmp_path / "out", pipe, settings, wants_stop=lambda: next(calls) > 25)
    summary = upscale_file(film, tmp_path / "out", pipe, settings)
    assert 0 < summary.frames_resumed < 9
    assert np.array_equal(pixels_of(summary.output), whole)


def test_the_planner_counts_what_is_kept_between_steps():
    """As many values as G_U hands over, and as enter the last up block of both networks."""
    pipe, side = factories.pipeline(), 16
    blank = torch.zeros(1, 4, side, side)
    with torch.no_grad():
        made = pipe.guidance(blank, blank[:, :3], blank, 0)
    plain = model_facts(pipe)
    residuals = sum(each.numel() for each in (*made.down, made.mid, *made.up)) / side**2
    assert model_facts(pipe, Reuse(guidance_every=2)).reused_values == pytest.approx(residuals)
    assert model_facts(pipe, Reuse(features_every=2)).reused_values == 2 * factories.WIDTHS[1]
    for kept_nothing in (Reuse(), Reuse(guidance_every=2, guidance_between="skipped")):
        assert model_facts(pipe, kept_nothing) == plain


def test_windows_in_lockstep_are_the_windows_of_a_job(tmp_path):
    """The same frames but for rounding, progress that ends at all the work, and a job that can be gone on with."""
    film, told = film_in(tmp_path), []
    pipe = factories.pipeline()
    apart = UpscaleSettings(window=3, overlap=1, tile=None, lockstep=1)
    together = replace(apart, lockstep=2)
    upscale_file(film, tmp_path / "apart", pipe, apart)
    upscale_file(film, tmp_path / "together", pipe, together, told.append)
    difference = pixels_of(tmp_path / "together").astype(int) - pixels_of(tmp_path / "apart")
    assert abs(difference).max() <= 1
    assert told[-1].work_done == told[-1].work_total
    stop = iter([False] * 20 + [True] * 100)
    with pytest.raises(InterruptionError):
        upscale_file(film, tmp_path / "again", pipe, together, wants_stop=lambda: next(stop))
    assert upscale_file(film, tmp_path / "again", pipe, together).frames_resumed == 4  # a stretch of two windows
    np.testing.assert_array_equal(pixels_of(tmp_path / "again"), pixels_of(tmp_path / "together"))


def test_number_of_windows_in_lockstep_is_checked():
    with pytest.raises(UsageError, match="windows in lockstep"):
        UpscaleSettings(lockstep=0)
