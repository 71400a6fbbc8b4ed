import numpy as np
import pytest
import torch

from dgafvsr.errors import InputError, UsageError
from dgafvsr.evaluation import scoring
from dgafvsr.evaluation.metrics import psnr
from dgafvsr.evaluation.perceptual import MetricUnavailableError
from dgafvsr.evaluation.protocols import Protocol, get_protocol, studio_luma
from dgafvsr.evaluation.runner import EvaluationSettings, evaluate_folders
from tests.evaluation.pictures import noisy, smooth_clip, write_clip

DIS = get_protocol("standard").with_flow("dis")


@pytest.fixture
def clips(tmp_path):
    """Two clips of 3 and 4 frames: truth, a noisy and a noisier method; the folders and what they hold."""
    held = {}
    for index, (name, t) in enumerate((("city", 3), ("walk", 4))):
        truth = smooth_clip(t=t, seed=index)
        held["gt", name] = write_clip(tmp_path / "gt" / name, truth)
        held["good", name] = write_clip(tmp_path / "good" / name, noisy(truth, 0.02))
        held["bad", name] = write_clip(tmp_path / "bad" / name, noisy(truth, 0.2))
    return tmp_path, held


def test_means_are_per_frame_then_per_clip_then_over_clips(clips):
    root, held = clips
    settings = EvaluationSettings(metrics=("psnr",))
    result = evaluate_folders({"good": root / "good", "bad": root / "bad"}, root / "gt", settings)
    for method in result.methods:
        expected = {c: psnr(held[method.name, c], held["gt", c]).numpy() for c in ("city", "walk")}
        for clip in method.clips:
            np.testing.assert_allclose(clip.values["psnr"], expected[clip.name], rtol=1e-9)
        mean = np.mean([values.mean() for values in expected.values()])
        assert method.mean("psnr") == pytest.approx(mean, rel=1e-9)
    assert result.clip_names == ("city", "walk")
    assert result.frame_count == 7
    assert [method.name for method in result.methods] == ["good", "bad"]


def test_temporal_metrics_have_no_value_for_the_first_frame_and_rank_noise(clips):
    root, _ = clips
    settings = EvaluationSettings(metrics=("tof", "warping"), protocol=DIS, clips=("walk",))
    result = evaluate_folders({"good": root / "good", "bad": root / "bad"}, root / "gt", settings)
    good, bad = result.methods
    for name in ("tof", "warping"):
        values = good.clips[0].values[name]
        assert values[0] is None
        assert all(value is not None for value in values[1:])
        assert good.mean(name) < bad.mean(name)


def test_the_truth_itself_is_perfect(clips):
    root, _ = clips
    result = evaluate_folders(
        {"gt": root / "gt"}, root / "gt", EvaluationSettings(metrics=("psnr", "ssim", "tof"), protocol=DIS)
    )
    assert result.methods[0].mean("psnr") == float("inf")
    assert result.methods[0].mean("ssim") == pytest.approx(1)
    assert result.methods[0].mean("tof") == 0


def test_protocol_decides_color_crop_and_frames(clips):
    root, held = clips
    protocol = Protocol(name="test", luma_metrics=("psnr",), crop_border=3, skip_first=1, skip_last=1)
    settings = EvaluationSettings(metrics=("psnr",), protocol=protocol, max_frames=1)
    result = evaluate_folders({"good": root / "good"}, root / "gt", settings)
    walk = result.methods[0].clips[1]
    assert walk.frames == (1,)
    pair = [studio_luma(held[side, "walk"][1:2, :, 3:-3, 3:-3]).double() for side in ("good", "gt")]
    expected = -10 * torch.log10((pair[0] - pair[1]).square().mean())
    assert walk.values["psnr"][0] == pytest.approx(float(expected), rel=1e-5)


def test_metric_without_weights_is_reported_and_the_others_computed(clips, monkeypatch):
    def no_weights(name, *, device):
        raise MetricUnavailableError(f"{name} has no weights")

    monkeypatch.setattr(scoring, "PerceptualDistance", no_weights)
    root, _ = clips
    settings = EvaluationSettings(metrics=("psnr", "lpips", "tlpips"))
    result = evaluate_folders({"good": root / "good"}, root / "gt", settings)
    assert set(result.unavailable) == {"lpips", "tlpips"}
    assert "no weights" in result.unavailable["tlpips"].reason
    assert result.methods[0].mean("lpips") is None
    assert result.methods[0].mean("psnr") > 30


def test_temporal_metrics_of_one_frame_are_unavailable_with_the_reason(clips):
    root, _ = clips
    settings = EvaluationSettings(metrics=("psnr", "tof"), protocol=DIS, max_frames=1)
    result = evaluate_folders({"good": root / "good"}, root / "gt", settings)
    assert "city is scored on one" in result.unavailable["tof"].reason
    assert result.methods[0].mean("psnr") is not None


def test_score_that_is_no_number_stops_with_its_place(clips, monkeypatch):
    def nan_at_walk(prediction, truth):
        return torch.full((1,), torch.nan)

    monkeypatch.setattr(scoring, "psnr", nan_at_walk)
    root, _ = clips
    with pytest.raises(InputError, match="PSNR of good is not a number in clip city, frame 0"):
        evaluate_folders({"good": root / "good"}, root / "gt", EvaluationSettings(metrics=("psnr",)))


def test_everything_is_checked_before_anything_is_computed(clips, monkeypatch):
    def never(*arguments):
        raise AssertionError("computed too early")

    monkeypatch.setattr(scoring, "psnr", never)
    root, _ = clips
    (root / "bad" / "walk" / "00000003.png").unlink()
    with pytest.raises(InputError, match="bad/walk"):
        evaluate_folders(
            {"good": root / "good", "bad": root / "bad"}, root / "gt", EvaluationSettings(metrics=("psnr",))
        )


def test_pictures_too_small_for_a_metric_are_refused(tmp_path):
    write_clip(tmp_path / "sr", smooth_clip(t=1, height=24))
    write_clip(tmp_path / "gt", smooth_clip(t=1, height=24))
    with pytest.raises(InputError, match="too small for LPIPS"):
        evaluate_folders({"ours": tmp_path / "sr"}, tmp_path / "gt", EvaluationSettings(metrics=("psnr", "lpips")))


def test_progress_counts_pictures_of_all_methods(clips):
    root, _ = clips
    seen = []
    settings = EvaluationSettings(metrics=("psnr",))
    evaluate_folders({"a": root / "good", "b": root / "bad"}, root / "gt", settings, on_progress=seen.append)
    assert [step.done for step in seen] == list(range(1, 15))
    assert {step.total for step in seen} == {14}
    assert seen[-1].clip == "walk"


def test_settings_refuse_unknown_metrics():
    with pytest.raises(UsageError, match="vmaf"):
        EvaluationSettings(metrics=("vmaf",))
    with pytest.raises(UsageError):
        EvaluationSettings(metrics=())
