from __future__ import annotations

import io
import json
import shutil
import tarfile

import cv2
import numpy as np
import pytest
import torch
from tests.training.conftest import picture, write_clip

from dgafvsr.errors import InputError, OutputError, UsageError
from dgafvsr.flow.dis import DISFlow
from dgafvsr.training.data.blobs import decode_picture
from dgafvsr.training.data.library import open_data
from dgafvsr.training.data.motion import MotionRanges
from dgafvsr.training.data.pack_candidates import PackSettings
from dgafvsr.training.data.packing import pack
from dgafvsr.training.data.packs import read_index, read_pack
from dgafvsr.training.data.samples import PictureSamples, SequenceSamples, SequenceSettings


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Eight photographs, two of them copies, a clip of frames, a video, a note and a validation folder."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name in ("photos", "videos", "val", "frames/a"):
        (folder / name).mkdir(parents=True)
    photos = [picture(rng, 132, 150 + 6 * index) for index in range(7)]
    for index, photo in enumerate([*photos, photos[0]]):
        cv2.imwrite(str(folder / "photos" / f"{index}.png"), photo)
    (folder / "photos" / "LICENSE.txt").write_text("by nobody")
    write_clip(folder / "videos" / "clip.mp4", picture(rng, 180, 300), frames=20)
    write_clip(folder / "val" / "clip.mp4", picture(rng, 180, 300), frames=4)
    coarse = cv2.resize(picture(rng, 24, 30), (200, 140), interpolation=cv2.INTER_CUBIC)
    for index in range(5):
        cv2.imwrite(str(folder / "frames" / "a" / f"{index}.png"), coarse[:, index : index + 160])
    return folder


@pytest.fixture(scope="module")
def packed(source, tmp_path_factory):
    target = tmp_path_factory.mktemp("pack") / "all.tar"
    return target, pack(source, target, PackSettings(max_mb=2, run_frames=4))


def test_everything_is_packed_where_there_is_room(packed, source):
    target, result = packed
    assert (result.photos, result.runs, result.frames, result.left_out, result.held_out) == (8, 6, 24, 0, 1)
    assert result.quality == 95
    assert result.size == target.stat().st_size <= 2_000_000
    index = read_index(target)
    assert [entry["source"] for entry in index["photos"]] == [f"photos/{number}.png" for number in range(8)]
    assert {entry["source"] for entry in index["clips"]} == {"videos/clip.mp4", "frames/a"}
    assert [entry["first_frame"] for entry in index["clips"] if entry["source"] == "videos/clip.mp4"] == [
        1,
        4,
        8,
        11,
        14,
    ]


def test_the_licence_goes_with_the_pictures(packed):
    target, _ = packed
    index = read_index(target)
    assert {entry["note"] for entry in index["clips"]} == {""}
    (note,) = {entry["note"] for entry in index["photos"]}
    with tarfile.open(target) as archive:
        member = archive.extractfile(note)
        assert member is not None
        assert member.read() == b"by nobody"


def test_pictures_are_those_of_the_source(packed, source):
    sources = read_pack(packed[0])
    for index, blob in enumerate(sources.photos):
        original = cv2.cvtColor(cv2.imread(str(source / "photos" / f"{index}.png")), cv2.COLOR_BGR2RGB)
        restored = decode_picture(blob)
        assert restored.shape == original.shape
        assert np.abs(restored.astype(int) - original).mean() < 2


def test_videos_are_halved_once(packed, source):
    packed_clips, original = open_data(packed[0]).clips, open_data(source).clips
    index = read_index(packed[0])["clips"]
    (place, *_) = [number for number, entry in enumerate(index) if entry["source"] == "videos/clip.mp4"]
    (video,) = [number for number, clip in enumerate(original.sources) if clip.path.suffix == ".mp4"]
    theirs = original.frame(video, index[place]["first_frame"])
    ours = packed_clips.frame(place, 0)
    assert ours.shape == theirs.shape == (64, 80, 3)
    assert np.abs(ours.astype(int) - theirs).mean() < 3


@pytest.mark.parametrize("picture_format", ["jpeg", "webp"])
def test_the_bound_is_kept_and_copies_are_left_out(source, tmp_path, picture_format):
    settings = PackSettings(max_mb=0.15, run_frames=4, format=picture_format, qualities=(90, 60))
    result = pack(source, tmp_path / "small.tar", settings)
    assert 75_000 < result.size == (tmp_path / "small.tar").stat().st_size <= 150_000
    assert result.left_out > 0
    assert result.photos > 0
    assert result.runs > 0
    assert len(read_pack(tmp_path / "small.tar").photos) == result.photos


def test_the_same_data_gives_the_same_bytes(packed, source, tmp_path):
    pack(source, tmp_path / "again.tar", PackSettings(max_mb=2, run_frames=4))
    assert (tmp_path / "again.tar").read_bytes() == packed[0].read_bytes()


def test_large_and_soft_photographs_are_reduced(tmp_path):
    (tmp_path / "data").mkdir()
    sharp = np.random.default_rng(0).integers(0, 256, (300, 1300, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "data" / "large.png"), sharp)
    soft = cv2.resize(picture(np.random.default_rng(1), 60, 60), (400, 400), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "data" / "soft.png"), soft)
    pack(tmp_path / "data", tmp_path / "out.tar")
    sizes = [
        (entry["height"], entry["width"], entry["halvings"]) for entry in read_index(tmp_path / "out.tar")["photos"]
    ]
    assert sizes == [(150, 650, 1), (200, 200, 1)]


def test_a_pack_is_trained_from_as_a_folder_is(packed):
    data = open_data(packed[0])
    assert data.summary() == "8 photographs and 6 clips"
    first, again = (PictureSamples(open_data(packed[0]).pictures, side=32)[5] for _ in range(2))
    assert torch.equal(first["hr"], again["hr"])
    settings = SequenceSettings(frames=3, side=48, clip_share=0.5, motion=MotionRanges(shift_px=3))
    samples = SequenceSamples(data.pictures, data.clips, DISFlow(), settings)
    shapes = {tuple(samples[index]["hr"].shape) for index in range(8)}
    assert shapes == {(3, 3, 48, 48)}
    assert data.problems == ()


def test_what_is_validated_on_is_left_out_of_a_pack(packed, source, tmp_path):
    index = read_index(packed[0])
    for name, copied in (("photos/3.png", "x.png"), ("frames/a/2.png", "clip/0000.png"), ("videos/clip.mp4", "b.mp4")):
        held = tmp_path / name.partition("/")[0] / copied
        held.parent.mkdir(parents=True)
        shutil.copy(source / name, held)
        val = tmp_path / name.partition("/")[0]
        data = open_data(packed[0], val=val)
        left = [*data.photos.blobs, *data.clips.sources]
        kept = [entry for entry in (*index["photos"], *index["clips"]) if not name.startswith(entry["source"])]
        assert len(left) == len(kept) < 14
        assert [each.reason for each in data.held_out] == ["validated on"]
        names = {entry.get("folder") or entry["file"] for entry in kept}
        assert {each.name.removeprefix(f"{packed[0]}:") for each in left} == names
    assert len(open_data(packed[0], val=source / "val").photos) == 8  # not packed, so nothing is left out
    with pytest.raises(InputError, match=r"all training data lies in .* validated on"):
        open_data(packed[0], val=source)


def test_a_pack_without_origins_is_refused_where_clips_are_validated_on(source, tmp_path):
    write_tar(tmp_path / "old.tar", {"index.json": index_of("a.png"), "a.png": b"x"})
    assert len(open_data(tmp_path / "old.tar").photos) == 1
    with pytest.raises(InputError, match=r"does not say which files it was made of.*pack the data again"):
        open_data(tmp_path / "old.tar", val=source / "val")
    entry = {"file": "a.png", "made_of": ["1", "2"]}
    index = json.dumps({"format": "dgafvsr training pack 1", "photos": [entry], "clips": []}).encode()
    write_tar(tmp_path / "wrong.tar", {"index.json": index, "a.png": b"x"})
    with pytest.raises(InputError, match=r"damaged.*2 origins of 1 pictures"):
        open_data(tmp_path / "wrong.tar")


def test_unreadable_sources_are_told(source, tmp_path):
    (tmp_path / "data").mkdir()
    for path in (source / "photos").glob("*.png"):
        (tmp_path / "data" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "data" / "broken.jpg").write_bytes(b"x")
    result = pack(tmp_path / "data", tmp_path / "out.tar")
    assert result.photos == 8
    assert "broken.jpg is skipped (unreadable)" in result.problems


def test_existing_files_are_kept(source, tmp_path):
    (tmp_path / "out.tar").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        pack(source, tmp_path / "out.tar")
    assert (tmp_path / "out.tar").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out.tar"]


def test_what_does_not_fit_at_all_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "data").mkdir()
    sharp = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "data" / "a.png"), sharp)
    with pytest.raises(InputError, match="nothing fits"):
        pack(tmp_path / "data", tmp_path / "out.tar", PackSettings(max_mb=0.1))
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    "wrong",
    [{"max_mb": 0}, {"format": "gif"}, {"clip_share": 2}, {"run_frames": 1}, {"qualities": ()}, {"qualities": (0,)}],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(UsageError):
        PackSettings(**wrong)


def write_tar(path, members: dict[str, bytes], links: dict[str, str] | None = None) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)


def index_of(*names: str) -> bytes:
    photos = [{"file": name} for name in names]
    return json.dumps({"format": "dgafvsr training pack 1", "photos": photos, "clips": []}).encode()


def test_links_and_names_outside_lead_nowhere(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    write_tar(tmp_path / "a.tar", {"index.json": index_of("link.png")}, {"link.png": str(tmp_path / "secret.png")})
    write_tar(tmp_path / "b.tar", {"index.json": index_of("../secret.png")})
    for name in ("a.tar", "b.tar"):
        with pytest.raises(InputError, match=r"damaged.*no picture"):
            read_pack(tmp_path / name)
    write_tar(tmp_path / "c.tar", {"index.json": index_of("../x.png"), "../x.png": b"here"})
    (blob,) = read_pack(tmp_path / "c.tar").photos
    assert blob.read() == b"here"  # looked up inside, never written


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ({"a.png": b"x"}, "no training pack"),
        ({"index.json": b"{"}, "damaged.*unreadable index"),
        ({"index.json": b'{"format": "other"}'}, "another format.*other"),
        ({"index.json": b"[]"}, "another format"),
        ({"index.json": b'{"format": "dgafvsr training pack 1"}'}, "damaged.*without 'photos'"),
    ],
)
def test_other_tars_are_refused(tmp_path, members, what):
    write_tar(tmp_path / "a.tar", members)
    with pytest.raises(InputError, match=what):
        open_data(tmp_path / "a.tar")


def test_no_tar_and_a_torn_one_are_refused(packed, tmp_path):
    (tmp_path / "a.tar").write_text("nothing of the kind")
    with pytest.raises(InputError, match="no training pack"):
        open_data(tmp_path / "a.tar")
    raw = packed[0].read_bytes()
    (tmp_path / "b.tar").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError, match="no training pack"):
        open_data(tmp_path / "b.tar")
