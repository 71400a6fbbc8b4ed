from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.training.conftest import picture, write_clip

from dgafvsr.errors import InputError, UsageError
from dgafvsr.training.data.sources import find_sources


def write_frames(folder: Path, *, frames: int = 4, first: int = 0, pattern: str = "{:08d}.png", seed: int = 0) -> None:
    """A camera that pans over a picture: 96 x 64."""
    folder.mkdir(parents=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    still = cv2.resize(coarse, (96 + 2 * frames, 72), interpolation=cv2.INTER_CUBIC)
    for index in range(frames):
        path = folder / pattern.format(first + index)
        cv2.imwrite(str(path), still[:64, 2 * index : 2 * index + 96])


def write_photos(folder: Path, names: list[str], *, side: int = 64) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / name), cv2.resize(coarse, (side, side), interpolation=cv2.INTER_NEAREST))


def found(folder: Path, kind="auto") -> tuple[list[str], list[str], list[str]]:
    """Photographs, clips and what is held out, below the folder."""
    sources = find_sources(folder, kind)
    lists = (
        [blob.path for blob in sources.photos],
        [clip.path for clip in sources.clips],
        [each.path for each in sources.held_out],
    )
    return tuple([path.relative_to(folder).as_posix() for path in paths] for paths in lists)


def test_reds_without_its_test_and_validation_clips(tmp_path):
    for clip in ("000", "001", "011", "012", "015", "020"):
        write_frames(tmp_path / "train" / "train_sharp" / clip)
    write_frames(tmp_path / "train" / "train_sharp_bicubic" / "X4" / "001")
    write_frames(tmp_path / "val" / "val_sharp" / "000")
    photos, clips, held_out = found(tmp_path)
    assert photos == []
    assert clips == ["train/train_sharp/001", "train/train_sharp/012"]
    assert held_out == [
        *(f"train/train_sharp/{clip}" for clip in ("000", "011", "015", "020")),
        "train/train_sharp_bicubic",
        "val",
    ]


def test_vimeo_by_its_lists(tmp_path):
    for clip in ("00001/0001", "00001/0002", "00002/0001"):
        write_frames(tmp_path / "sequences" / clip, frames=7, first=1, pattern="im{}.png")
    with pytest.raises(InputError, match="sep_trainlist"):
        find_sources(tmp_path)
    (tmp_path / "sep_trainlist.txt").write_text("00001/0001\n00001/0002\n")
    (tmp_path / "sep_testlist.txt").write_text("00001/0002\n00002/0001\n")
    assert found(tmp_path) == ([], ["sequences/00001/0001"], ["sequences"])
    for part in ("sequences", "sequences/00001", "sequences/00002/0001"):
        with pytest.raises(InputError, match="name its top folder"):
            find_sources(tmp_path / part)


def test_ldv_as_pictures_and_as_videos(tmp_path):
    write_frames(tmp_path / "001", pattern="f{:03d}.png", first=1)
    write_frames(tmp_path / "002", pattern="f{:03d}.png", first=1)
    write_clip(tmp_path / "003.mkv", picture(np.random.default_rng(0), 180, 260), frames=3)
    assert found(tmp_path) == ([], ["003.mkv", "001", "002"], [])
    assert [clip.halved for clip in find_sources(tmp_path).clips] == [True, False, False]


def test_photographs_and_videos_in_the_project_s_own_layout(data_folder):
    assert found(data_folder) == (["photos/0.png", "photos/1.png", "photos/2.png"], ["videos/clip.mp4"], [])


def test_numbered_photographs_are_no_clip(tmp_path):
    write_photos(tmp_path / "mine", [f"{index:04d}.png" for index in range(6)])
    assert len(found(tmp_path)[0]) == 6
    assert found(tmp_path, "clips") == ([], ["mine"], [])


def test_folders_called_photos_hold_no_clip(tmp_path):
    write_frames(tmp_path / "photos" / "burst")
    assert len(found(tmp_path)[0]) == 4


def test_names_with_gaps_or_other_sizes_are_photographs(tmp_path):
    write_frames(tmp_path / "gap")
    (tmp_path / "gap" / "00000002.png").unlink()
    write_frames(tmp_path / "sizes")
    write_photos(tmp_path / "sizes", ["00000004.png"], side=40)
    assert len(found(tmp_path)[0]) == 3 + 5


def test_a_folder_of_frames_itself_is_a_clip(tmp_path):
    write_frames(tmp_path / "mine")
    assert found(tmp_path / "mine") == ([], ["."], [])
    assert len(found(tmp_path / "mine", "photos")[0]) == 4


def test_links_are_followed_once(tmp_path):
    write_frames(tmp_path / "elsewhere" / "a")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "elsewhere")
    assert found(tmp_path / "data") == ([], ["linked/a"], [])


def test_a_linked_validation_folder_is_held_out(tmp_path):
    write_frames(tmp_path / "REDS" / "val" / "000")
    write_frames(tmp_path / "data" / "mine")
    (tmp_path / "data" / "more").symlink_to(tmp_path / "REDS" / "val")
    assert found(tmp_path / "data") == ([], ["mine"], ["more"])


def test_what_a_validation_folder_links_to_is_held_out(tmp_path):
    for seed, clip in enumerate(("a", "b", "c")):
        write_frames(tmp_path / "clips" / clip, seed=seed)
    write_photos(tmp_path / "photos", ["0.png", "1.png"])
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "first").symlink_to(tmp_path / "clips" / "a")
    (tmp_path / "test" / "x").mkdir(parents=True)
    (tmp_path / "test" / "x" / "0.png").symlink_to(tmp_path / "clips" / "c" / "00000001.png")
    (tmp_path / "test" / "x" / "1.png").symlink_to(tmp_path / "photos" / "1.png")
    assert found(tmp_path) == (["photos/0.png"], ["clips/b"], ["test", "val"])


def test_a_link_into_a_validation_folder_is_held_out(tmp_path):
    write_frames(tmp_path / "val" / "a")
    write_frames(tmp_path / "clips" / "b", seed=1)
    (tmp_path / "clips" / "c").symlink_to(tmp_path / "val" / "a")
    assert found(tmp_path) == ([], ["clips/b"], ["val"])


def test_nothing_to_train_on_is_a_clear_error(tmp_path):
    with pytest.raises(InputError, match="no training data in"):
        find_sources(tmp_path)
    write_frames(tmp_path / "val" / "000")
    with pytest.raises(InputError, match="nothing but held-out material"):
        find_sources(tmp_path)
    with pytest.raises(InputError, match="no training data folder"):
        find_sources(tmp_path / "missing")
    with pytest.raises(UsageError, match="Unknown kind"):
        find_sources(tmp_path, "movies")


def test_validation_material_is_refused_when_named(tmp_path):
    write_frames(tmp_path / "val" / "val_sharp" / "000")
    with pytest.raises(InputError, match="is not trained on"):
        find_sources(tmp_path / "val" / "val_sharp")
