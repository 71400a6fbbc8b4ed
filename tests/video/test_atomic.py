import errno
import os
import stat
from contextlib import nullcontext

import pytest

from dgafvsr.errors import OutputError
from dgafvsr.video.atomic import PendingFile, PendingFolder
from tests.video.films import listing


def test_file_appears_only_when_published(tmp_path):
    pending = PendingFile(tmp_path / "a.mp4")
    pending.path.write_text("new")
    assert not (tmp_path / "a.mp4").exists()
    pending.publish()
    assert listing(tmp_path) == {"a.mp4": b"new"}


@pytest.mark.skipif(os.name != "posix", reason="folders cannot be flushed")
@pytest.mark.parametrize("kind", [PendingFile, PendingFolder])
def test_everything_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch, kind):
    """A power cut after the renaming must not leave an empty file under the name."""
    pending, flushed, fsync = kind(tmp_path / "a"), [], os.fsync

    def recorded(opened):
        flushed.append((os.fstat(opened).st_ino, (tmp_path / "a").exists()))
        fsync(opened)

    files = [pending.path] if kind is PendingFile else [pending.path / name for name in ("0.png", "1.png")]
    for file in files:
        file.write_text("new")
    wanted = {(entry.stat().st_ino, False) for entry in (*files, pending.path)} | {(tmp_path.stat().st_ino, True)}
    monkeypatch.setattr(os, "fsync", recorded)
    pending.publish()
    assert set(flushed) == wanted


@pytest.mark.parametrize(("code", "stops"), [(errno.EINVAL, False), (errno.EACCES, False), (errno.EIO, True)])
def test_disk_that_cannot_flush_folders_is_no_failure(tmp_path, monkeypatch, code, stops):
    pending, fsync = PendingFile(tmp_path / "a.mp4"), os.fsync

    def refuse_folders(opened):
        if stat.S_ISDIR(os.fstat(opened).st_mode):
            raise OSError(code, "no")
        fsync(opened)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    with pytest.raises(OutputError, match="cannot be written") if stops else nullcontext():
        pending.publish()
    assert list(listing(tmp_path)) == ["a.mp4"]


def test_discarding_leaves_nothing(tmp_path):
    PendingFile(tmp_path / "a.mp4").discard()
    PendingFolder(tmp_path / "frames").discard()
    assert listing(tmp_path) == {}


def test_existing_file_is_replaced_only_on_request(tmp_path):
    (tmp_path / "a.mp4").write_text("old")
    with pytest.raises(OutputError, match=r"exists.*--overwrite"):
        PendingFile(tmp_path / "a.mp4")
    pending = PendingFile(tmp_path / "a.mp4", overwrite=True)
    pending.path.write_text("new")
    pending.publish()
    assert listing(tmp_path) == {"a.mp4": b"new"}


def test_file_that_appeared_meanwhile_is_kept(tmp_path):
    pending = PendingFile(tmp_path / "a.mp4")
    (tmp_path / "a.mp4").write_text("of another")
    with pytest.raises(OutputError, match="exists"):
        pending.publish()
    pending.discard()
    assert listing(tmp_path) == {"a.mp4": b"of another"}


def test_folder_is_replaced_only_on_request_and_only_with_pictures(tmp_path):
    target = tmp_path / "frames"
    target.mkdir()
    PendingFolder(target, may_hold={".png"}).discard()  # empty: fine
    (target / "0.png").write_text("old")
    with pytest.raises(OutputError, match="not empty"):
        PendingFolder(target, may_hold={".png"})
    pending = PendingFolder(target, overwrite=True, may_hold={".png"})
    (pending.path / "1.png").write_text("new")
    pending.publish()
    assert listing(target) == {"1.png": b"new"}
    assert list(listing(tmp_path)) == ["frames"]
    (target / "thesis.doc").write_text("dear")
    with pytest.raises(OutputError, match=r"other files than pictures.*thesis\.doc"):
        PendingFolder(target, overwrite=True, may_hold={".png"})


def test_source_is_never_the_target(tmp_path):
    source = tmp_path / "a.mp4"
    source.write_text("dear")
    (tmp_path / "link.mp4").symlink_to(source)
    for same in (source, tmp_path / "x" / ".." / "a.mp4", tmp_path / "link.mp4"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(OutputError, match="input itself"):
            PendingFile(same, overwrite=True, source=source)
    with pytest.raises(OutputError, match="holds the input"):
        PendingFolder(tmp_path, overwrite=True, source=source)


def test_missing_parent_is_refused(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        PendingFile(tmp_path / "none" / "a.mp4")
