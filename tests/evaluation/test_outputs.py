import pytest

from dgafvsr.errors import OutputError, UsageError
from dgafvsr.evaluation.outputs import check_folder, check_targets, write_atomically


def test_impossible_targets_are_found_before_computing(tmp_path):
    with pytest.raises(UsageError, match=r"\.json"):
        check_targets([tmp_path / "out.txt"])
    with pytest.raises(OutputError):
        check_targets([tmp_path / "absent" / "out.json"])
    check_targets([tmp_path / "out.json"])
    check_targets([tmp_path / "out.png"], (".png",))
    check_folder(tmp_path / "plots")
    assert not list(tmp_path.iterdir())


def test_folder_with_other_files_than_pictures_is_kept(tmp_path):
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "thesis.tex").touch()
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="plots"):
            check_folder(tmp_path / "plots", overwrite=overwrite)


def test_file_appears_complete_or_not_at_all(tmp_path):
    def fails(path):
        path.write_text("half")
        raise OSError("no space")

    with pytest.raises(OutputError, match="no space"):
        write_atomically(tmp_path / "a.md", fails, overwrite=False)
    assert not list(tmp_path.iterdir())
    write_atomically(tmp_path / "a.md", lambda path: path.write_text("whole"), overwrite=False)
    assert (tmp_path / "a.md").read_text() == "whole"
