import os
import stat

import pytest

from dgafvsr.apps.web.data_folder import DataFolder
from dgafvsr.errors import OutputError


def test_folder_is_private_even_if_it_was_open(tmp_path):
    path = tmp_path / "data"
    path.mkdir(mode=0o755)
    with DataFolder(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    path.chmod(0o777)
    with DataFolder(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_folder_of_other_things_is_refused_and_untouched(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    mode = tmp_path.stat().st_mode
    with pytest.raises(OutputError, match=r"holds other things.*letter\.txt.*--data"), DataFolder(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    assert tmp_path.stat().st_mode == mode


def test_second_server_is_refused(tmp_path):
    second = DataFolder(tmp_path / "data")
    with DataFolder(tmp_path / "data"), pytest.raises(OutputError, match=r"Another server works with .*--data"):
        second.__enter__()
    with DataFolder(tmp_path / "data"):
        pass


def test_file_instead_of_a_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError), DataFolder(tmp_path / "file"):
        pass


def test_unclaimed_uploads_go_when_a_server_starts(tmp_path):
    with DataFolder(tmp_path / "data") as folder:
        (folder.uploads / "a").mkdir()
        (folder.uploads / "a" / "film.mp4").touch()
    with DataFolder(tmp_path / "data") as folder:
        assert list(folder.uploads.iterdir()) == []


def test_link_is_removed_and_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    with DataFolder(tmp_path / "data") as folder:
        link = folder.jobs / "link"
        os.symlink(tmp_path / "outside", link)
        folder.remove(link)
        assert not link.is_symlink()
    assert (tmp_path / "outside" / "kept").exists()


def test_messages_lose_the_names_of_our_folders(tmp_path):
    folder = DataFolder(tmp_path / "data")
    text = f"{folder.films}/00/source/clip.mp4 is empty, see /etc/hosts"
    assert folder.plain(text) == "clip.mp4 is empty, see /etc/hosts"
