"""Films with marks that PyAV cannot write are made by putting the boxes and units into the bytes of a plain one."""

import struct

import pytest

from dgafvsr.video.codecs import EncoderSettings
from dgafvsr.video.encoding import plan_encoding
from dgafvsr.video.reader import open_source
from dgafvsr.video.segments import assemble, write_segment
from dgafvsr.video.writer import open_sink
from tests.video.films import pictures, write_film

CAPTIONS = b"\xb5\x00\x31GA94\x03\xc1\xff\xfc\x80\x80\xff"  # ATSC A/53: one pair of CEA-608 bytes
HOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")


def box(name, *content):
    content = b"".join(content)
    return struct.pack(">I", 8 + len(content)) + name + content


def with_boxes(film, *boxes):
    """The MP4 with boxes at the end of the description of its pictures; what the index tells lies before it."""
    data, added = bytearray(film.read_bytes()), b"".join(boxes)
    place, end = 0, len(data)
    assert data.rindex(b"mdat") < data.rindex(b"moov")
    for name in HOLDERS:
        start = data.index(name, place, end) - 4
        size = int.from_bytes(data[start : start + 4], "big")
        data[start : start + 4] = struct.pack(">I", size + len(added))
        place, end = start + 8, start + size
    data[end:end] = added
    film.write_bytes(data)
    return film


def stereo_box(kind):
    return box(b"st3d", bytes(4), bytes([kind]))


def sphere_box():
    head = box(b"svhd", bytes(4), b"test\0")
    pose = box(b"prhd", bytes(4 + 12))
    return box(b"sv3d", head, box(b"proj", pose, box(b"equi", bytes(4 + 16))))


def copy(source, target, **settings):
    with open_source(source) as reader, open_sink(target, reader.info, EncoderSettings(**settings)) as sink:
        for frame in reader:
            sink.write(frame)
    return reader.info, sink.warnings


def stereo_of(path):
    with open_source(path) as source:
        return source.info.stereo


@pytest.mark.parametrize(("kind", "name"), [(1, "top_bottom"), (2, "left_right")])
def test_two_views_in_a_picture_are_kept_where_the_container_can_say_it(tmp_path, kind, name):
    film = with_boxes(write_film(tmp_path / "a.mp4", pictures(3)), stereo_box(kind))
    assert stereo_of(film) == name
    assert copy(film, tmp_path / "b.mkv")[1] == ()
    assert copy(tmp_path / "b.mkv", tmp_path / "c.webm", options={"preset": "12"})[1] == ()
    assert stereo_of(tmp_path / "b.mkv") == stereo_of(tmp_path / "c.webm") == name
    lost = f"the mark of two views in a picture ({name}) is left out: mp4 cannot say it here; .mkv and .webm can"
    assert copy(film, tmp_path / "d.mp4")[1] == (lost,)
    assert stereo_of(tmp_path / "d.mp4") is None


def test_kinds_of_stereo_that_only_matroska_knows(tmp_path):
    film = write_film(tmp_path / "a.mkv", pictures(3), notes={"stereo_mode": "anaglyph_cyan_red"})
    assert copy(film, tmp_path / "b.mkv")[1] == ()
    assert stereo_of(tmp_path / "b.mkv") == "anaglyph_cyan_red"
    (lost,) = copy(film, tmp_path / "c.webm", options={"preset": "12"})[1]
    assert "(anaglyph_cyan_red) is left out: webm cannot say it here; .mkv can" in lost
    assert stereo_of(tmp_path / "c.webm") is None


def test_360_degrees_are_named(tmp_path):
    film = with_boxes(write_film(tmp_path / "a.mp4", pictures(3)), sphere_box())
    info, _ = copy(film, tmp_path / "b.mkv")
    assert info.stereo is None
    (lost,) = info.losses
    assert lost.startswith("the mark of a 360-degree picture is left out")
    with open_source(tmp_path / "b.mkv") as made:
        assert made.info.losses == ()


def test_captions_inside_the_pictures_are_named(tmp_path):
    write_film(tmp_path / "a.h264", pictures(3), container_format="h264")
    data = (tmp_path / "a.h264").read_bytes()
    start = data.index(b"\x00\x00\x01\x65")  # before the first key picture
    unit = b"\x00\x00\x01\x06\x04" + bytes([len(CAPTIONS)]) + CAPTIONS + b"\x80"
    (tmp_path / "b.h264").write_bytes(data[:start] + unit + data[start:])
    with open_source(tmp_path / "a.h264") as plain, open_source(tmp_path / "b.h264") as captioned:
        assert plain.info.losses == ()
        assert captioned.info.losses == ("the closed captions inside the pictures (CEA-608, CEA-708) are left out",)


def test_a_film_without_marks_has_none(tmp_path):
    with open_source(write_film(tmp_path / "a.mp4", pictures(3))) as source:
        assert (source.info.stereo, source.info.lost_marks) == (None, ())


@pytest.mark.parametrize(("suffix", "kept"), [(".mkv", "left_right"), (".mp4", None)])
def test_two_views_survive_a_film_in_pieces(tmp_path, suffix, kept):
    film = with_boxes(write_film(tmp_path / "a.mp4", pictures(4)), stereo_box(2))
    with open_source(film) as reader:
        encoding = plan_encoding(tmp_path / f"b{suffix}", reader.info)
        frames = list(reader)
        pieces = [write_segment(tmp_path / str(k), frames[k : k + 2], reader.info, encoding) for k in (0, 2)]
        losses = assemble(pieces, tmp_path / f"b{suffix}", reader.info, encoding)
    assert stereo_of(tmp_path / f"b{suffix}") == kept
    assert (losses == ()) == (kept is not None)
