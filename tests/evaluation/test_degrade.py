import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from dgafvsr.errors import InputError, OutputError, UsageError
from dgafvsr.evaluation.degradations import reduce_bicubic, reduce_blurred
from dgafvsr.evaluation.degrade import degrade_clips
from tests.evaluation.pictures import smooth_clip, write_clip

T, H, W = 3, 66, 91


@pytest.fixture
def clips(tmp_path):
    return {name: write_clip(tmp_path / "GT" / name, smooth_clip(T, H, W, seed)) for seed, name in enumerate("ab")}


def read(folder):
    pictures = [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize(("kind", "reduce"), [("bicubic", reduce_bicubic), ("bd", reduce_blurred)])
def test_a_set_becomes_a_set(clips, tmp_path, kind, reduce):
    told = []
    done = degrade_clips(tmp_path / "GT", tmp_path / "LR", kind, on_clip=lambda *clip: told.append(clip))
    assert done == 2 * T
    assert told == [("a", T), ("b", T)]
    for name, truth in clips.items():
        assert torch.allclose(read(tmp_path / "LR" / name), reduce(truth[..., :64, :88]), atol=1e-6)


def test_one_clip_becomes_one_folder(clips, tmp_path):
    degrade_clips(tmp_path / "GT" / "a", tmp_path / "LR", "bicubic")
    assert read(tmp_path / "LR").shape == (T, 3, 16, 22)


def test_pictures_keep_their_names(tmp_path):
    write_clip(tmp_path / "gt", smooth_clip(T, H, W), first=5, pattern="Frame {:03d}.png")
    assert degrade_clips(tmp_path / "gt", tmp_path / "lr", "bicubic") == T
    names = [f"Frame {index:03d}.png" for index in (5, 6, 7)]
    assert sorted(path.name for path in (tmp_path / "lr").iterdir()) == names


def test_realistic_belongs_to_seed_and_name(clips, tmp_path):
    for seed, target in ((1, "x"), (1, "y"), (2, "z")):
        degrade_clips(tmp_path / "GT", tmp_path / target, "realistic", seed=seed)
    degrade_clips(tmp_path / "GT" / "b", tmp_path / "alone", "realistic", seed=1)
    assert torch.equal(read(tmp_path / "x" / "b"), read(tmp_path / "y" / "b"))
    assert torch.equal(read(tmp_path / "x" / "b"), read(tmp_path / "alone"))
    assert not torch.equal(read(tmp_path / "x" / "b"), read(tmp_path / "z" / "b"))


@pytest.mark.parametrize("kind", ["bicubic", "bd"])
def test_seed_of_what_is_not_random_is_refused(clips, tmp_path, kind):
    with pytest.raises(UsageError, match="nothing random"):
        degrade_clips(tmp_path / "GT", tmp_path / "LR", kind, seed=5)
    assert not (tmp_path / "LR").exists()


def test_clips_that_cannot_be_made_are_found_before_any_is(clips, tmp_path):
    write_clip(tmp_path / "GT" / "c", smooth_clip(2, 28, 40))
    with pytest.raises(InputError, match="c is too small"):
        degrade_clips(tmp_path / "GT", tmp_path / "LR", "bd")
    assert not (tmp_path / "LR").exists()
    shutil.rmtree(tmp_path / "GT" / "c")
    write_clip(tmp_path / "LR" / "b", smooth_clip(1, 16, 22))
    with pytest.raises(OutputError, match="b exists"):
        degrade_clips(tmp_path / "GT", tmp_path / "LR", "bd")
    assert [path.name for path in (tmp_path / "LR").iterdir()] == ["b"]


def test_bad_requests_are_refused_and_nothing_is_replaced(clips, tmp_path):
    for kind, seed in (("x", 0), ("realistic", -1)):
        with pytest.raises(UsageError):
            degrade_clips(tmp_path / "GT", tmp_path / "LR", kind, seed=seed)
    for target in ("GT", "GT/inside"):
        with pytest.raises(OutputError):
            degrade_clips(tmp_path / "GT", tmp_path / target, "bd")
    with pytest.raises(OutputError):
        degrade_clips(tmp_path / "GT" / "a", tmp_path / "GT" / "b", "bd")
    write_clip(tmp_path / "small", smooth_clip(2, 28, 40))
    with pytest.raises(InputError):
        degrade_clips(tmp_path / "small", tmp_path / "LR", "bd")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["GT", "small"]
