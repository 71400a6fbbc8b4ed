import shutil
from pathlib import Path

import pytest
from PIL import Image

from dgafvsr.errors import InputError, UsageError
from dgafvsr.evaluation.datasets import LAYOUTS, check_dataset, guess_layout, layout_of

VID4 = LAYOUTS["vid4"].clips
DOCS = Path(__file__).parents[2] / "docs" / "datasets.md"


def make_clip(folder, frames, size, pattern="{:08d}.png"):
    folder.mkdir(parents=True)
    picture = Image.new("RGB", size)
    for index in range(frames):
        picture.save(folder / pattern.format(index))


def make_vid4(top):
    for name, frames in VID4.items():
        make_clip(top / "GT" / name, frames, (20, 12))
        make_clip(top / "bix4" / name, frames, (5, 3))
    return top


@pytest.fixture
def vid4(tmp_path):
    return make_vid4(tmp_path / "some folder")


def problems(folder, layout=None):
    return [f"{problem.path.relative_to(folder)} {problem.what}" for problem in check_dataset(folder, layout).problems]


def test_a_complete_benchmark_has_no_problems(vid4):
    found = check_dataset(vid4)
    assert (found.layout, found.sets, found.pictures, found.problems) == ("vid4", {"GT": 4, "bix4": 4}, 2 * 171, ())


def test_missing_and_misnamed_clips_are_named(vid4):
    shutil.rmtree(vid4 / "GT" / "walk")
    (vid4 / "GT" / "city").rename(vid4 / "GT" / "City2")
    found = problems(vid4)
    assert any(line.startswith("GT/walk is missing") and "misnamed" not in line for line in found)
    assert any(line.startswith("GT/city is missing; is it 'city2'") for line in found)
    assert any(line.startswith("GT/City2 is no clip of vid4; rename it to city?") for line in found)
    assert len(found) == 3


def test_frames_that_are_missing_or_out_of_step_are_named(vid4):
    (vid4 / "GT" / "walk" / "00000005.png").unlink()
    (vid4 / "bix4" / "city" / "00000033.png").rename(vid4 / "bix4" / "city" / "00000034.png")
    found = problems(vid4)
    assert "GT/walk holds 46 pictures instead of 47" in found
    assert "GT/walk lacks a picture after 00000004.png, or one is misnamed" in found
    assert "bix4/walk has other picture names than its ground truth, the first is 00000005" in found
    assert "bix4/city lacks a picture after 00000032.png, or one is misnamed" in found
    assert "bix4/city has other picture names than its ground truth, the first is 00000033" in found
    assert len(found) == 5


def test_sizes_and_damage_are_named(vid4):
    Image.new("RGB", (6, 3)).save(vid4 / "bix4" / "city" / "00000000.png")
    Image.new("RGB", (16, 12)).save(vid4 / "GT" / "walk" / "00000002.png")
    (vid4 / "GT" / "walk" / "00000003.png").write_bytes(b"no picture")
    found = problems(vid4)
    assert "GT/walk/00000002.png is 16x12 instead of 20x12" in found
    assert any(line.startswith("GT/walk/00000003.png cannot be read") for line in found)
    assert "bix4/city/00000000.png is 6x3 instead of 5x3" in found
    assert len(found) == 3


def test_clips_of_a_wrong_scale_are_named_once(vid4):
    for picture in (vid4 / "bix4" / "city").iterdir():
        Image.new("RGB", (6, 3)).save(picture)
    assert problems(vid4) == ["bix4/city is 6x3, not a quarter of its ground truth (5x3)"]


def test_one_odd_picture_of_a_fixed_size_is_named_alone(tmp_path):
    make_clip(tmp_path / "SPMCS" / "GT" / "car05_001", 31, (960, 540), "{:04d}.png")
    Image.new("RGB", (960, 544)).save(tmp_path / "SPMCS" / "GT" / "car05_001" / "0000.png")
    found = problems(tmp_path / "SPMCS")
    assert found == ["GT holds 1 clips instead of 30", "GT/car05_001/0000.png is 960x544 instead of 960x540"]


def test_folder_of_the_truth_itself_is_told_apart(vid4):
    (found,) = problems(vid4 / "GT", LAYOUTS["vid4"])
    assert "name the folder above it" in found


def test_missing_truth_and_strange_folders_are_named(vid4):
    (vid4 / "bix4").rename(vid4 / "BIx_4")
    assert problems(vid4) == ["BIx_4 is not expected here; rename it to BIx4?"]
    (vid4 / "GT").rename(vid4 / "truth")
    assert problems(vid4, LAYOUTS["vid4"]) == ["GT is missing: the folder of the ground truth"]


def test_fixed_sizes_and_counts(tmp_path):
    for name in LAYOUTS["reds4"].clips:
        make_clip(tmp_path / "REDS4" / "GT" / name, 100, (1280, 720) if name == "000" else (8, 8))
    found = problems(tmp_path / "REDS4")
    assert "GT/011/00000000.png is 8x8 instead of 1280x720" in found
    assert not any("GT/000" in line for line in found)
    make_clip(tmp_path / "SPMCS" / "GT" / "car05_001", 31, (960, 540), "{:04d}.png")
    assert problems(tmp_path / "SPMCS") == ["GT holds 1 clips instead of 30"]
    make_clip(tmp_path / "UDM10" / "GT" / "band", 31, (1272, 720), "{:04d}.png")
    assert problems(tmp_path / "UDM10") == [
        "GT holds 1 clips instead of 10",
        "GT/band holds 31 pictures instead of 32",
    ]


def test_clips_without_truth_lie_at_the_top(tmp_path):
    for index in range(49):
        make_clip(tmp_path / "VideoLQ" / f"{index:03d}", 1 + index % 3, (8, 6))
    assert problems(tmp_path / "VideoLQ") == ["049 is missing"]


def test_vimeo_follows_its_list(tmp_path):
    top = tmp_path / "vimeo"
    make_clip(top / "sequences" / "00001" / "0266", 7, (448, 256), "im{}.png")
    (top / "sep_testlist.txt").write_text("00001/0266\n00002/0001\n")
    assert problems(top) == ["sequences/00002/0001 is missing"]
    (top / "sep_testlist.txt").unlink()
    assert problems(top, LAYOUTS["vimeo90k-t"]) == ["sep_testlist.txt is missing: the list of the test clips"]


def test_what_is_no_benchmark_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError):
            guess_layout(folder)
    with pytest.raises(UsageError):
        layout_of("imagenet")


def test_every_layout_is_documented():
    assert [name for name in LAYOUTS if f"`{name}`" not in DOCS.read_text()] == []
