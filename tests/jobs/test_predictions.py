import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dgafvsr.errors import ModelError, OutputError
from dgafvsr.evaluation.baselines import interpolate_pixels
from dgafvsr.evaluation.clips import plan_inputs, read_pictures
from dgafvsr.evaluation.probes import FrameChoice
from dgafvsr.jobs.predictions import FrameMethod, ModelMethod, ModelSettings, make_predictions
from tests import factories
from tests.evaluation.pictures import smooth_clip, to_pixels, write_clip


@pytest.fixture
def plans(tmp_path):
    """Two clips of 3 and 2 frames, of which two are wanted."""
    write_clip(tmp_path / "lr" / "city", smooth_clip(t=3, height=16, width=20), first=1, pattern="Frame {:03d}.png")
    write_clip(tmp_path / "lr" / "walk", smooth_clip(t=2, height=20, width=16))
    return plan_inputs(tmp_path / "lr", None, scale=4, choice=FrameChoice(max_frames=2))


def bicubic(calls):
    def load():
        def enlarge(pixels):
            calls.append(pixels.shape)
            return interpolate_pixels(pixels, "bicubic")

        return enlarge

    return FrameMethod("bicubic", load)


class Fourfold:
    """Repeats pixels; stands in for a pipeline."""

    default_steps = 2

    def __init__(self):
        self.calls = []

    def __call__(self, lr, *, on_event, **options):
        self.calls.append(options)
        for _ in range(2 * len(lr)):
            on_event(None)
        return SimpleNamespace(frames=lr.repeat_interleave(4, 2).repeat_interleave(4, 3))


@pytest.fixture
def model_folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model_index.json").write_text("{}")
    return tmp_path / "model"


def test_frames_are_made_once_and_named_like_the_input(plans, tmp_path):
    calls, steps = [], []
    made = make_predictions(plans, [bicubic(calls)], tmp_path / "kept", on_progress=steps.append)
    assert made == {"bicubic": tmp_path / "kept" / "bicubic"}
    files = sorted(path.name for path in (tmp_path / "kept" / "bicubic" / "city").iterdir())
    assert files == ["Frame 001.png", "Frame 002.png", "made.json"]
    expected = interpolate_pixels(to_pixels(smooth_clip(t=3, height=16, width=20))[1], "bicubic")
    frame = list(read_pictures(tmp_path / "kept" / "bicubic" / "city", range(2)))[1]
    np.testing.assert_array_equal(to_pixels(frame)[0], expected)
    assert [(step.done, step.total) for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert steps[-1].clip == "bicubic, walk"
    assert len(calls) == 4
    make_predictions(plans, [bicubic(calls)], tmp_path / "kept")
    assert len(calls) == 4


def test_frames_made_otherwise_are_kept_and_refused_before_any_is_made(plans, tmp_path, model_folder):
    make_predictions(plans, [ModelMethod("m", model_folder, Fourfold, ModelSettings(seed=1))], tmp_path / "kept")
    before = {path: path.read_bytes() for path in (tmp_path / "kept").rglob("*") if path.is_file()}
    calls = []
    other = ModelMethod("m", model_folder, Fourfold, ModelSettings(seed=2))
    with pytest.raises(OutputError, match="m/city holds frames that were made otherwise"):
        make_predictions(plans, [bicubic(calls), other], tmp_path / "kept")
    assert calls == []
    assert {path: path.read_bytes() for path in before} == before
    (model_folder / "model_index.json").write_text("{ }")
    same_settings = ModelMethod("m", model_folder, Fourfold, ModelSettings(seed=1))
    with pytest.raises(OutputError, match="other input, model or settings"):
        make_predictions(plans, [same_settings], tmp_path / "kept")


def test_pictures_of_unknown_making_are_not_replaced(plans, tmp_path):
    write_clip(tmp_path / "kept" / "bicubic" / "city", smooth_clip(t=2))
    with pytest.raises(OutputError, match=r"no made\.json"):
        make_predictions(plans, [bicubic([])], tmp_path / "kept")


def test_interrupted_clip_leaves_nothing_and_the_others_stay(plans, tmp_path):
    def interrupt(progress):
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_predictions(plans, [bicubic([])], tmp_path / "kept", on_progress=interrupt)
    assert [path.name for path in (tmp_path / "kept" / "bicubic").iterdir()] == ["city"]
    calls = []
    make_predictions(plans, [bicubic(calls)], tmp_path / "kept")
    assert len(calls) == 2


def test_model_is_called_with_its_settings_and_only_when_needed(plans, tmp_path, model_folder):
    pipe, loads = Fourfold(), []

    def load():
        loads.append(1)
        return pipe

    method = ModelMethod("m", model_folder, load, ModelSettings(guided=False, steps=2, seed=7))
    make_predictions(plans, [method], tmp_path / "kept")
    make_predictions(
        plans, [ModelMethod("m", model_folder, load, ModelSettings(guided=False, steps=2, seed=7))], tmp_path / "kept"
    )
    assert loads == [1]
    assert len(pipe.calls) == 2
    assert pipe.calls[0] == {
        "num_inference_steps": 2,
        "seed": 7,
        "window": None,
        "overlap": 0,
        "guided": False,
        "output_type": "pt",
    }
    record = json.loads((tmp_path / "kept" / "m" / "city" / "made.json").read_text())
    assert record["method"]["settings"]["seed"] == 7
    assert len(record["input"]) == 2


def test_long_clips_are_sampled_in_windows(tmp_path, model_folder):
    write_clip(tmp_path / "lr", smooth_clip(t=5, height=16, width=20))
    pipe = Fourfold()
    method = ModelMethod("m", model_folder, lambda: pipe, ModelSettings(window=4, overlap=1))
    make_predictions(plan_inputs(tmp_path / "lr", None, scale=4, choice=FrameChoice()), [method], tmp_path / "kept")
    assert (pipe.calls[0]["window"], pipe.calls[0]["overlap"]) == (4, 1)


def test_values_that_are_no_numbers_stop_with_their_place(plans, tmp_path, model_folder):
    def broken(lr, *, on_event, **options):
        frames = lr.repeat_interleave(4, 2).repeat_interleave(4, 3)
        frames[1, 0, 3, 5] = torch.nan
        return SimpleNamespace(frames=frames)

    broken.default_steps = 2
    with pytest.raises(ModelError, match=r"m gave values that are not numbers \(NaN\) in clip city, frame 1"):
        make_predictions(plans, [ModelMethod("m", model_folder, lambda: broken)], tmp_path / "kept")
    assert list((tmp_path / "kept" / "m").iterdir()) == []


def test_real_pipeline_gives_the_same_frames_again(plans, tmp_path):
    factories.pipeline().save_pretrained(tmp_path / "tiny")
    for kept in ("one", "two"):
        method = ModelMethod("m", tmp_path / "tiny", factories.pipeline, ModelSettings(steps=2))
        make_predictions(plans[:1], [method], tmp_path / kept)
    one, two = (list(read_pictures(tmp_path / kept / "m" / "city", range(2))) for kept in ("one", "two"))
    assert one[0].shape == (1, 3, 64, 80)
    assert all(torch.equal(*pair) for pair in zip(one, two, strict=True))
