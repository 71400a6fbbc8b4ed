from __future__ import annotations

from pathlib import Path

import pytest

from dgafvsr.errors import InputError
from dgafvsr.training.data.splits import REDS4, held_out_reason, refuse_held_out, vimeo_training_clips


@pytest.mark.parametrize(
    "path",
    ["a/val", "a/Validation", "a/valid", "a/val_sharp", "a/test", "a/Vid4", "a/REDS4", "a/VideoLQ", "a/UDM10"]
    + [f"train_sharp/{clip}" for clip in ("000", "011", "015", "020")]
    + ["reds_hr/015"],
)
def test_held_out_folders_are_known(path):
    assert held_out_reason(Path(path)) is not None


@pytest.mark.parametrize("path", ["a/train", "train_sharp/001", "mine/011", "a/valley", "a/contest", "a/vid41"])
def test_training_folders_are_not(path):
    assert held_out_reason(Path(path), siblings=("001", "002")) is None


def test_reds_is_known_by_its_clips_under_any_name():
    siblings = [f"{index:03d}" for index in range(240)]
    assert sorted(REDS4) == ["000", "011", "015", "020"]
    assert {name for name in siblings if held_out_reason(Path("mine") / name, siblings=siblings)} == REDS4


@pytest.mark.parametrize(
    "name", ["val", "REDS/val/val_sharp", "REDS/val/val_sharp/003", "train/train_sharp/020", "vid4/GT"]
)
def test_naming_them_is_refused(tmp_path, name):
    (tmp_path / name).mkdir(parents=True)
    with pytest.raises(InputError, match="is not trained on"):
        refuse_held_out(tmp_path / name)


def test_a_link_does_not_hide_them(tmp_path):
    (tmp_path / "REDS" / "val").mkdir(parents=True)
    (tmp_path / "mine").symlink_to(tmp_path / "REDS" / "val")
    with pytest.raises(InputError, match="mine is not trained on"):
        refuse_held_out(tmp_path / "mine")


def test_vimeo_lists(tmp_path):
    with pytest.raises(InputError, match="sep_trainlist"):
        vimeo_training_clips(tmp_path)
    (tmp_path / "sep_trainlist.txt").write_text("00001/0001\n00001/0002\n\n00002/0001\n")
    assert vimeo_training_clips(tmp_path) == (["00001/0001", "00001/0002", "00002/0001"], 0)
    (tmp_path / "sep_testlist.txt").write_text("00001/0002\n00009/0001\n")
    assert vimeo_training_clips(tmp_path) == (["00001/0001", "00002/0001"], 1)
    (tmp_path / "sep_trainlist.txt").write_text("../../elsewhere\n")
    with pytest.raises(InputError, match="outside of the data"):
        vimeo_training_clips(tmp_path)
