import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin, TiffTags

from dgafvsr.errors import InputError
from dgafvsr.video.limits import InputLimits
from dgafvsr.video.pictures import UnreadablePictureError, read_facts, read_picture, write_picture
from tests.video.films import pictures

DEEP = pictures(1)[0].astype(np.uint16) * 257 + np.arange(3, dtype=np.uint16)
ALPHA = np.arange(32 * 48, dtype=np.uint16).reshape(32, 48) * 40


@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
@pytest.mark.parametrize("alpha", [None, (ALPHA // 257).astype(np.uint8)])
def test_eight_bits_come_back_exactly(tmp_path, kind, alpha):
    file = tmp_path / f"a.{kind}"
    write_picture(file, kind, pictures(1)[0], alpha)
    facts, found = read_facts(file), read_picture(file)
    assert (facts.width, facts.height, facts.bit_depth, facts.has_alpha) == (48, 32, 8, alpha is not None)
    np.testing.assert_array_equal(found.pixels, pictures(1)[0])  # also where it is fully transparent
    np.testing.assert_array_equal(found.alpha, alpha)


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("alpha", [None, ALPHA])
def test_sixteen_bits_come_back_exactly(tmp_path, kind, alpha):
    file = tmp_path / f"a.{kind}"
    write_picture(file, kind, DEEP, alpha)
    facts, found = read_facts(file), read_picture(file)
    assert (facts.bit_depth, facts.has_alpha) == (16, alpha is not None)
    np.testing.assert_array_equal(found.pixels, DEEP)
    np.testing.assert_array_equal(found.alpha, alpha)


def test_files_are_what_other_programs_read(tmp_path):
    write_picture(tmp_path / "a.png", "png", DEEP, None)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)[..., ::-1], DEEP)
    write_picture(tmp_path / "a.webp", "webp", pictures(1)[0], None)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.webp").convert("RGB")), pictures(1)[0])


def test_palette_with_a_transparent_entry_has_alpha(tmp_path):
    Image.fromarray(pictures(1)[0]).quantize(16).save(tmp_path / "a.png", transparency=3)
    assert read_facts(tmp_path / "a.png").has_alpha
    assert set(np.unique(read_picture(tmp_path / "a.png").alpha)) == {0, 255}


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_damaged_deep_picture_is_named(tmp_path, kind):
    file = tmp_path / f"a.{kind}"
    write_picture(file, kind, DEEP, None)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"a\.{kind} cannot be read as a picture"):
        read_picture(file)


def test_turned_picture_with_damaged_exif_is_named(tmp_path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[256] = TiffTags.DOUBLE  # the width, which is a whole number
    tags[256], tags[274] = 1.5, 6
    exif = b"Exif\0\0II*\0\x08\0\0\0" + tags.tobytes(8)
    Image.fromarray(pictures(1)[0]).save(tmp_path / "a.jpg", exif=exif)
    assert read_facts(tmp_path / "a.jpg").height == 48
    with pytest.raises(UnreadablePictureError, match=r"a\.jpg cannot be read as a picture"):
        read_picture(tmp_path / "a.jpg")


def test_our_limit_holds_in_place_of_pillows(tmp_path, monkeypatch):
    """Pillow refuses from twice its limit on, which a user could not raise."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    write_picture(tmp_path / "a.png", "png", pictures(1)[0], None)
    assert read_facts(tmp_path / "a.png", InputLimits(pixels=32 * 48)).width == 48
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").pixels, pictures(1)[0])
    assert Image.MAX_IMAGE_PIXELS == 100
    for read in (read_facts, read_picture):
        with pytest.raises(InputError, match=r"larger than allowed.*--max-pixels") as refused:
            read(tmp_path / "a.png", InputLimits(pixels=32 * 48 - 1))
        assert not isinstance(refused.value, UnreadablePictureError)  # which a damaged file would be left out as
