from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dgafvsr.errors import OutputError, UsageError
from dgafvsr.evaluation.charts import save_charts, temporal_profile
from dgafvsr.evaluation.runner import EvaluationSettings, evaluate_folders
from tests.evaluation.pictures import noisy, smooth_clip, write_clip

pytest.importorskip("matplotlib")


@pytest.fixture
def result(tmp_path):
    for name in ("city", "walk"):
        write_clip(tmp_path / "gt" / name, smooth_clip(t=3))
        write_clip(tmp_path / "sr" / name, noisy(smooth_clip(t=3)))
    settings = EvaluationSettings(metrics=("psnr", "ssim"), max_frames=2)
    return evaluate_folders({"ours": tmp_path / "sr", "truth itself": tmp_path / "gt"}, tmp_path / "gt", settings)


def test_profile_is_one_row_over_time(tmp_path):
    clip = write_clip(tmp_path / "gt", smooth_clip(t=4))
    profile = temporal_profile(tmp_path / "gt", range(1, 4), 7)
    np.testing.assert_array_equal(profile, clip[1:, :, 7].permute(0, 2, 1).numpy())
    middle = temporal_profile(tmp_path / "gt", range(1), None)
    np.testing.assert_array_equal(middle[0], clip[0, :, 20].T.numpy())
    with pytest.raises(UsageError, match="0 to 39"):
        temporal_profile(tmp_path / "gt", range(1), 40)


def test_every_clip_has_its_pictures_and_equal_pictures_no_bar(result, tmp_path):
    save_charts(result, tmp_path / "plots")
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert names == ["bars.png", "city_metrics.png", "city_profile.png", "walk_metrics.png", "walk_profile.png"]
    for name in names:
        with Image.open(tmp_path / "plots" / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 10
    with pytest.raises(OutputError):
        save_charts(result, tmp_path / "plots")
    save_charts(result, tmp_path / "plots", overwrite=True)


def test_clips_of_one_frame_have_bars_only(result, tmp_path):
    short = [
        replace(method, clips=(replace(method.clips[0], frames=(0,), values={"psnr": (20.0,)}), method.clips[1]))
        for method in result.methods
    ]
    save_charts(replace(result, methods=tuple(short), metrics=("psnr",)), tmp_path / "plots")
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert names == ["bars.png", "walk_metrics.png", "walk_profile.png"]


def test_of_very_many_clips_the_mean_is_drawn(result, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("dgafvsr.evaluation.charts.save_plot", lambda panels, path: drawn.append(panels[0][0]))
    monkeypatch.setattr("dgafvsr.evaluation.charts.MOST_GROUPS", 1)
    save_charts(result, tmp_path / "plots")
    assert drawn[0].groups == ("mean of 2 clips",)
    assert [len(bars.heights) for bars in drawn[0].bars] == [1, 1]


def test_failed_charts_leave_nothing(result, tmp_path):
    with pytest.raises(UsageError):
        save_charts(result, tmp_path / "plots", row=400)
    assert not (tmp_path / "plots").exists()
    assert not list(tmp_path.glob(".dgafvsr*"))
