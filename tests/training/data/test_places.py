from __future__ import annotations

import shutil

from tests.training.data.test_sources import write_frames, write_photos

from dgafvsr.training.data.places import Places


def test_links_are_followed_to_where_things_lie(tmp_path):
    write_frames(tmp_path / "data" / "a")
    write_frames(tmp_path / "data" / "b")
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "a").symlink_to(tmp_path / "data" / "a")
    (tmp_path / "val" / "circle").symlink_to(tmp_path / "val" / "circle")
    (tmp_path / "val" / "gone").symlink_to(tmp_path / "gone")
    (tmp_path / "named").symlink_to(tmp_path / "val")
    places = Places([tmp_path / "named"])
    assert places.hold(tmp_path / "data" / "a" / "00000001.png")
    assert places.hold(tmp_path / "val" / "a")
    assert places.hold(tmp_path / "val")
    assert not places.hold(tmp_path / "data" / "b")
    assert not places.hold(tmp_path / "data")


def test_folders_share_single_pictures(tmp_path):
    for clip in ("linked", "linking", "other"):
        write_frames(tmp_path / "data" / clip)
    (tmp_path / "val" / "a").mkdir(parents=True)
    (tmp_path / "val" / "a" / "0.png").symlink_to(tmp_path / "data" / "linked" / "00000002.png")
    write_photos(tmp_path / "val" / "b", ["0.png"])
    (tmp_path / "data" / "linking" / "00000004.png").symlink_to(tmp_path / "val" / "b" / "0.png")
    places = Places([tmp_path / "val"])
    assert places.share(tmp_path / "data" / "linked")
    assert places.share(tmp_path / "data" / "linking")
    assert not places.share(tmp_path / "data" / "other")
    assert not places.share(tmp_path / "gone")


def test_fingerprints_are_those_of_the_contents(tmp_path):
    write_photos(tmp_path / "one", ["a.png", "b.png"])
    (tmp_path / "one" / "notes.txt").write_text("no picture")
    (tmp_path / "two").mkdir()
    shutil.copy(tmp_path / "one" / "b.png", tmp_path / "two" / "other name.png")
    one, two = (Places([tmp_path / name]).fingerprints for name in ("one", "two"))
    assert (len(one), len(two)) == (2, 1)
    assert two < one
    assert Places([tmp_path / "one" / "b.png"]).fingerprints == two
