import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgafvsr.errors import OutputError, UsageError
from dgafvsr.jobs.job_folder import JobFolder, job_folder_of, windows_to_redo
from dgafvsr.jobs.manifest import Manifest, WindowRecord

MANIFEST = Manifest(program={"version": "1"}, source={"bytes": 3}, settings={"seed": 0}, model={}, plan={"window": 2})


def record(start, *, head=0, state=None, shot_start=0):
    return WindowRecord(
        start=start,
        shot_start=shot_start,
        sampled=2,
        head=head,
        begun_from_sha256="a" if head else None,
        frames=1,
        state_sha256=state,
    )


def chain(borders):
    """Windows of one frame; True where a shot starts."""
    last = len(borders) - 1
    return [
        record(start, head=0 if border else 1, state="a" if start < last and not borders[start + 1] else None)
        for start, border in enumerate([True, *borders[1:]])
    ]


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.data())
def test_every_window_that_is_redone_has_what_it_begins_with(borders, data):
    records = chain(borders)
    starts = st.sets(st.integers(0, len(records) - 1))
    damaged, states = data.draw(starts), data.draw(starts)
    redo = windows_to_redo(records, damaged, states)
    assert damaged <= redo
    for each in redo:
        needs = records[each].head > 0
        assert not needs or each - 1 in redo or each - 1 in states
    for each in redo - damaged:  # and nothing more is redone
        assert records[each].state_sha256 is not None
        assert each not in states
        assert each + 1 in redo


def test_state_of_the_last_window_is_needed_to_go_on():
    unfinished = [record(0, state="a"), record(1, head=1, state="b")]
    assert windows_to_redo(unfinished, set(), {1}) == set()
    assert windows_to_redo(unfinished, set(), {0}) == {1}
    assert windows_to_redo(unfinished, set(), set()) == {0, 1}


def test_folder_that_holds_nothing_finished_goes(tmp_path):
    with JobFolder(tmp_path / "job") as job:
        job.begin(MANIFEST)
        assert (tmp_path / "job" / "manifest.json").exists()
    assert list(tmp_path.iterdir()) == []


def test_folder_is_private(tmp_path):
    with JobFolder(tmp_path / "job"):
        assert (tmp_path / "job").stat().st_mode & 0o077 == 0


def test_second_holder_is_refused_and_harms_nothing(tmp_path):
    with JobFolder(tmp_path / "job") as job:
        job.begin(MANIFEST)
        with pytest.raises(OutputError, match="Another process"), JobFolder(tmp_path / "job"):
            pass
        assert (tmp_path / "job" / "manifest.json").exists()


def test_half_written_files_go_and_finished_ones_stay(tmp_path):
    with JobFolder(tmp_path / "job") as job:
        job.begin(MANIFEST)
        job.finish(record(0, state="a"), b"state")
    (tmp_path / "job" / "windows" / ".dgafvsr-1.partial").mkdir()
    (tmp_path / "job" / "manifest.json.partial").touch()
    with JobFolder(tmp_path / "job") as job:
        assert job.manifest == MANIFEST
        assert job.finished == (record(0, state="a"),)
    assert not list((tmp_path / "job").rglob("*.partial"))


def test_records_after_a_gap_do_not_count(tmp_path):
    with JobFolder(tmp_path / "job") as job:
        job.begin(MANIFEST)
        for start in range(3):
            job.finish(record(start), None)
    (tmp_path / "job" / "windows" / "00000001.json").write_text('{"start": 1')
    with JobFolder(tmp_path / "job") as job:
        assert [each.start for each in job.finished] == [0]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"program": 1}', "\x00"])
def test_torn_manifest_is_none(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    assert Manifest.read(tmp_path / "manifest.json") is None


def test_manifest_is_json_and_says_what_changed(tmp_path):
    MANIFEST.write(tmp_path / "manifest.json")
    assert json.loads((tmp_path / "manifest.json").read_text())["plan"] == {"window": 2}
    MANIFEST.check(tmp_path, settings={"seed": 0})
    with pytest.raises(UsageError, match=r"other settings\. Got: new 1, seed 2\. Expected: new None, seed 0\."):
        MANIFEST.check(tmp_path, settings={"seed": 2, "new": 1})
    with pytest.raises(UsageError, match="another version"):
        MANIFEST.check(tmp_path, program={"version": "2"})


def test_job_folder_lies_hidden_beside_the_output(tmp_path):
    assert job_folder_of(tmp_path / "a film.mp4") == tmp_path / ".a film.mp4.dgafvsr-job"


def test_shots_finished_out_of_order_count_each_up_to_its_gap(tmp_path):
    with JobFolder(tmp_path / "job") as job:
        job.begin(MANIFEST)
        job.finish(record(6, shot_start=6, state="c"), b"six")
        job.finish(record(3, shot_start=3, state="b"), b"three")
        job.finish(record(0, state="a"), b"zero")
        job.finish(record(1, head=1, state="b"), b"one")
        job.finish(record(7, shot_start=6, head=1), None)
    states = sorted(path.name for path in (tmp_path / "job" / "windows").glob("*.state.safetensors"))
    assert states == ["00000001.state.safetensors", "00000003.state.safetensors"]
    (tmp_path / "job" / "windows" / "00000006.json").unlink()
    with JobFolder(tmp_path / "job") as job:
        assert [each.start for each in job.finished] == [0, 1, 3]


def test_state_before_a_gap_is_needed_to_go_on():
    records = [record(0, state="a"), record(3, shot_start=3, state="b"), record(4, shot_start=3, head=1)]
    assert windows_to_redo(records, set(), {0, 3}) == set()
    assert windows_to_redo(records, set(), {3}) == {0}
    assert windows_to_redo(records, set(), {0}) == set()
