from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from dgafvsr.errors import InputError, UsageError
from dgafvsr.video.folders import FolderReader, FolderWriter
from dgafvsr.video.reader import open_source
from tests.video.films import listing, pictures


def fill(folder, frames, pattern="{}.png"):
    folder.mkdir(exist_ok=True)
    for index, pixels in enumerate(frames):
        Image.fromarray(pixels).save(folder / pattern.format(index))
    return folder


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
def test_pictures_come_in_natural_order_and_exactly(tmp_path, suffix):
    folder = tmp_path / "in"
    folder.mkdir()
    for index, pixels in enumerate(pictures(12)):
        Image.fromarray(pixels).save(
            folder / f"frame{index}{suffix}", **({"lossless": True} if suffix == ".webp" else {})
        )
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden.png").write_text("not a picture either")
    with open_source(folder, frame_rate=Fraction(30000, 1001)) as source:
        frames = list(source)
    np.testing.assert_array_equal([frame.pixels for frame in frames], pictures(12))
    assert [frame.pts_seconds for frame in frames] == [k * Fraction(1001, 30000) for k in range(12)]
    assert (source.info.frame_count, source.info.frame_rate) == (12, Fraction(30000, 1001))


def test_frame_rate_is_24_unless_told(tmp_path):
    assert open_source(fill(tmp_path / "in", pictures(2))).info.frame_rate == 24
    with pytest.raises(UsageError, match="frame rate"):
        FolderReader(tmp_path / "in", frame_rate=Fraction(0))


def test_round_trip_is_lossless(tmp_path):
    with FolderReader(fill(tmp_path / "in", pictures())) as reader:
        with FolderWriter(tmp_path / "out", reader.info) as writer:
            for frame in reader:
                writer.write(frame)
        assert writer.frames_written == 7
    assert sorted(listing(tmp_path / "out"))[:2] == ["00000000.png", "00000001.png"]
    np.testing.assert_array_equal([frame.pixels for frame in FolderReader(tmp_path / "out")], pictures())


def test_one_picture_is_a_film_of_one_frame(tmp_path):
    fill(tmp_path, pictures(1), "a{}.jpg")
    assert len(list(open_source(tmp_path / "a0.jpg"))) == 1


def test_grey_palette_and_sixteen_bit_pictures_become_rgb(tmp_path):
    grey = pictures(1)[0, ..., 0]
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(grey).save(folder / "0.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "1.png")
    Image.fromarray(grey).convert("P").save(folder / "2.png")
    reader = FolderReader(folder)
    assert reader.info.bit_depth == 16  # the deepest picture decides
    for frame in reader:
        np.testing.assert_array_equal(frame.pixels, np.repeat(grey[..., None].astype(np.uint16) * 257, 3, axis=2))


def test_cameras_orientation_is_obeyed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pictures(1, height=16, width=40)[0]).save(tmp_path / "a.jpg", exif=exif)
    reader = FolderReader(tmp_path)
    assert (reader.info.width, reader.info.height) == (16, 40)
    assert next(iter(reader)).pixels.shape == (40, 16, 3)


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no pictures"):
        open_source(tmp_path)
    (tmp_path / "000").mkdir()
    with pytest.raises(InputError, match="choose one of the folders in it"):
        open_source(tmp_path)


def test_picture_of_another_size_is_named(tmp_path):
    fill(tmp_path / "in", pictures(4))
    Image.fromarray(pictures(1, height=16, width=40)[0]).save(tmp_path / "in" / "2.png")
    with pytest.raises(InputError, match=r"2\.png has another size.*40x16.*48x32"):
        open_source(tmp_path / "in")


def test_file_that_is_no_picture_is_named(tmp_path):
    fill(tmp_path / "in", pictures(4))
    (tmp_path / "in" / "2.png").write_text("text")
    with pytest.raises(InputError, match=r"2\.png cannot be read as a picture"):
        open_source(tmp_path / "in")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_picture_is_named(tmp_path, suffix):
    fill(tmp_path / "in", pictures(4), "{}." + suffix)
    file = tmp_path / "in" / f"2.{suffix}"
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match=rf"2\.{suffix} cannot be read as a picture"):
        list(open_source(tmp_path / "in"))


def damage(folder, *places):
    for place in places:
        file = folder / f"{place}.png"
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if place % 2 else b"no picture")


def test_damaged_pictures_are_left_out_on_demand_and_the_rest_keep_their_times(tmp_path):
    damage(fill(tmp_path / "in", pictures(12)), 2, 5, 6, 7, 11)
    with open_source(tmp_path / "in", on_error="skip-damaged") as source:
        frames = list(source)
    kept = [0, 1, 3, 4, 8, 9, 10]
    np.testing.assert_array_equal([frame.pixels for frame in frames], pictures(12)[kept])
    assert [frame.pts for frame in frames] == kept
    assert source.warnings == (
        "2.png cannot be read and is left out",
        "5.png to 7.png cannot be read: 3 pictures are left out",
        "11.png cannot be read and is left out",
    )
    assert [placed.index for placed in source.read_from(lambda index, seconds: index >= 3)] == [3, 4, 5, 6]


def test_part_of_a_folder_counts_time_from_its_first_readable_picture(tmp_path):
    damage(fill(tmp_path / "in", pictures(6)), 0, 3)
    source = open_source(tmp_path / "in", on_error="skip-damaged", frame_rate=Fraction(10))
    placed = list(source.read_from(lambda index, seconds: seconds >= Fraction(3, 10)))
    assert [(each.index, each.seconds, each.frame.pts) for each in placed] == [
        (2, Fraction(3, 10), 4),
        (3, Fraction(4, 10), 5),
    ]


def test_folder_without_a_readable_picture_is_refused(tmp_path):
    damage(fill(tmp_path / "in", pictures(3)), 0, 2)
    (tmp_path / "in" / "1.png").write_text("text")
    with pytest.raises(InputError, match=r"2\.png cannot be read"):
        open_source(tmp_path / "in", on_error="skip-damaged")
    damage(fill(tmp_path / "halves", pictures(2), "{}.png"), 1)
    (tmp_path / "halves" / "0.png").unlink()
    with pytest.raises(InputError, match="no picture that can be read"):
        list(open_source(tmp_path / "halves", on_error="skip-damaged"))


def test_pictures_have_no_fields(tmp_path):
    source = open_source(fill(tmp_path / "in", pictures(2)), deinterlace=True)
    assert source.warnings == (f"{tmp_path / 'in'}: pictures have no fields, nothing is deinterlaced",)


@pytest.mark.parametrize("rate", [Fraction(2**31), Fraction(1, 2**31)])
def test_frame_rate_that_no_container_can_say_is_refused(tmp_path, rate):
    with pytest.raises(UsageError, match="frame rate"):
        open_source(fill(tmp_path / "in", pictures(1)), frame_rate=rate)


def test_unknown_way_to_meet_damage_is_refused(tmp_path):
    with pytest.raises(UsageError, match="stop, skip-damaged"):
        open_source(fill(tmp_path / "in", pictures(1)), on_error="ignore")
