"""How a job samples is settled before the model works: what cannot fit is refused, whoever chose it."""

from types import SimpleNamespace

import pytest
import torch

from dgafvsr.errors import ResourceError
from dgafvsr.jobs.fallback import Reduction
from dgafvsr.jobs.memory import SHARE, expected_bytes, standing_bytes
from dgafvsr.jobs.memory_facts import model_facts
from dgafvsr.jobs.sampling_plan import SamplingPlan, plan_sampling, with_fallback
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.upscale import upscale_file
from dgafvsr.sampling.presets import SamplingChoice
from dgafvsr.sampling.reuse import Reuse
from tests import factories
from tests.jobs.standins import job_of, lossless
from tests.video.films import pictures

FILM = SimpleNamespace(width=640, height=360, expected_frames=None)
GB = 10**9


@pytest.fixture
def free(monkeypatch):
    """Says how many bytes are free, 2 GB until told otherwise."""

    def there_are(count):
        monkeypatch.setattr("dgafvsr.jobs.memory.available_bytes", lambda device: count)

    there_are(2 * GB)
    return there_are


@pytest.mark.parametrize(("window", "tile"), [(24, None), (500, 64), (24, "auto")])
def test_what_was_chosen_and_cannot_fit_says_what_it_needs_and_what_would_fit(free, window, tile):
    pipe, settings = factories.pipeline(), UpscaleSettings(window=window, tile=tile)
    facts = model_facts(pipe)
    least = expected_bytes(640, 360, facts, window=6, decoding="in turns", stored=True)
    free(int(least / SHARE) + 1 - standing_bytes("cpu") - facts.weight_bytes)
    with pytest.raises(ResourceError) as caught:
        plan_sampling(pipe, FILM, settings)
    error = caught.value
    assert "The memory is too small for frames of 640x360" in str(error)
    assert str(error.got).endswith("GB that can be used")
    assert str(error.expected).endswith("GB")
    assert error.remedy == "use a window of 6 frames and whole frames"


def test_what_was_chosen_and_fits_is_taken(free):
    plan = plan_sampling(factories.pipeline(), FILM, UpscaleSettings(window=5, tile=96, overlap=2))
    assert (plan.window, plan.overlap, plan.tile, plan.lockstep) == (5, 2, 96, 1)
    free(64 * GB)
    plan = plan_sampling(factories.pipeline(), FILM, UpscaleSettings(window=48, tile=None))
    assert (plan.window, plan.tile, plan.side_by_side) == (48, None, True)


def test_a_window_longer_than_the_film_or_its_part_needs_no_more_than_those(free):
    pipe, short = factories.pipeline(), SimpleNamespace(width=640, height=360, expected_frames=4)
    facts = model_facts(pipe)
    least = expected_bytes(640, 360, facts, window=4, decoding="in turns", stored=True)
    free(int(least / SHARE) + 1 - standing_bytes("cpu") - facts.weight_bytes)
    plan = plan_sampling(pipe, short, UpscaleSettings(window=100, overlap=6, tile=None))
    assert (plan.window, plan.overlap, plan.tile) == (100, 6, None)
    with pytest.raises(ResourceError):
        plan_sampling(pipe, FILM, UpscaleSettings(window=100, tile=None))
    part = SimpleNamespace(expected_frames=lambda info: 4)
    assert plan_sampling(pipe, FILM, UpscaleSettings(window=100, tile=None, part=part)).window == 100


def test_a_setting_that_cannot_fit_is_refused_before_the_model_works(free, tmp_path):
    free(0)
    film, pipe = lossless(tmp_path / "a.mkv", pictures(3, 180, 320)), factories.pipeline()
    pipe.unet.forward = pipe.vae.forward = None  # would fail otherwise
    with pytest.raises(ResourceError, match="window of 3 frames and whole frames"):
        upscale_file(film, tmp_path / "out.mkv", pipe, UpscaleSettings(window=24, tile=None))
    assert not job_of(tmp_path / "out.mkv").exists()


class Full:
    """A pipeline that never has enough memory."""

    device, default_steps = "cpu", 4

    def __init__(self):
        pipe = factories.pipeline()
        self.components, self.config = pipe.components, pipe.config

    def __call__(self, frames, **options):
        raise torch.OutOfMemoryError("full")


@pytest.mark.parametrize("reuse", [None, Reuse(features_every=2), Reuse(guidance_every=2)])
def test_what_the_least_would_need_counts_what_is_kept_between_steps(reuse):
    pipe = Full()
    upscaler = with_fallback(pipe, SamplingPlan(window=24, overlap=4, tile=None), None, reuse)
    least = {"window": 2, "tile": 64, "decoding": "in turns", "stored": True}
    needed = expected_bytes(1600, 1200, model_facts(pipe, reuse), **least)
    with pytest.raises(ResourceError) as caught:
        upscaler(torch.zeros(3, 1200, 1600, 3).numpy())
    assert caught.value.expected == f"about {needed / 1e9:.1f} GB of free memory"


def test_what_a_call_would_need_counts_windows_in_lockstep():
    pipe = Full()
    plan = SamplingPlan(window=8, overlap=4, tile=None, lockstep=3)
    needed = with_fallback(pipe, plan, None)._needed_bytes
    facts = model_facts(pipe)
    for reduction, lockstep in ((Reduction(), 3), (Reduction(one_by_one=True), 1)):
        expected = expected_bytes(640, 360, facts, window=8, lockstep=lockstep, decoding="in turns", stored=True)
        assert needed(640, 360, reduction) == expected


def test_a_preset_is_planned_with_what_it_keeps(free, monkeypatch):
    asked = []
    monkeypatch.setattr("dgafvsr.jobs.memory.model_facts", lambda *args: asked.append(args[1]) or model_facts(*args))
    settings = UpscaleSettings(sampling=SamplingChoice(reuse=Reuse(features_every=2)))
    plan_sampling(factories.pipeline(), FILM, settings)
    assert asked == [Reuse(features_every=2)]
