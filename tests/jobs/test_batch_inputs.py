"""Which films a batch finds and what their results are called."""

import os

import pytest

from dgafvsr.errors import InputError, OutputError, UsageError
from dgafvsr.jobs.batch_inputs import plan_batch, read_list

TREE = ["a.mp4", "b.AVI", "notes.txt", ".hidden.mp4", "sub/c10.mkv", "sub/c9.mkv", "sub/poster.jpg", "clip/000.png"]


@pytest.fixture
def films(tmp_path):
    """A folder of films, of which one is a folder of pictures, and one lies deeper."""
    for name in TREE:
        path = tmp_path / "films" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "films"


def planned(words, output, **options):
    files = plan_batch([str(word) for word in words], output, **options)
    return [(each.source.name, each.target.relative_to(output).as_posix(), each.is_folder) for each in files]


def test_a_folder_gives_its_films_and_leaves_the_rest(films, tmp_path):
    expected = [("a.mp4", "a.mp4", False), ("b.AVI", "b.mkv", False)]
    assert planned([films], tmp_path / "out") == expected


def test_folders_below_are_kept_in_natural_order(films, tmp_path):
    assert planned([films], tmp_path / "out", recursive=True) == [
        ("a.mp4", "a.mp4", False),
        ("b.AVI", "b.mkv", False),
        ("clip", "clip", True),
        ("c9.mkv", "sub/c9.mkv", False),
        ("c10.mkv", "sub/c10.mkv", False),
    ]


def test_a_folder_of_pictures_is_one_film(films, tmp_path):
    assert planned([films / "clip"], tmp_path / "out") == [("clip", "clip", True)]
    assert planned([films / "clip"], tmp_path / "out", container="mp4") == [("clip", "clip.mp4", False)]
    assert planned([films / "clip" / "000.png"], tmp_path / "out") == [("000.png", "000", True)]


def test_patterns_keep_the_folders_below_their_fixed_part(films, tmp_path):
    assert planned([films / "**" / "*.mkv"], tmp_path / "out") == [
        ("c9.mkv", "sub/c9.mkv", False),
        ("c10.mkv", "sub/c10.mkv", False),
    ]


def test_a_name_that_looks_like_a_pattern_is_a_name_where_it_is_there(tmp_path):
    (tmp_path / "film [1].mp4").touch()
    assert planned([tmp_path / "film [1].mp4"], tmp_path / "out") == [("film [1].mp4", "film [1].mp4", False)]


def test_containers_replace_the_suffix(films, tmp_path):
    assert planned([films], tmp_path / "out", container="webm") == [
        ("a.mp4", "a.webm", False),
        ("b.AVI", "b.webm", False),
    ]
    assert planned([films / "a.mp4"], tmp_path / "out", container="pictures") == [("a.mp4", "a", True)]


def test_a_film_named_twice_is_made_once(films, tmp_path):
    os.symlink(films / "a.mp4", tmp_path / "link.mp4")
    words = [films / "a.mp4", films, tmp_path / "link.mp4"]
    assert [source for source, *_ in planned(words, tmp_path / "out")] == ["a.mp4", "b.AVI"]


def test_results_below_an_input_folder_are_no_inputs(films):
    (films / "out").mkdir()
    (films / "out" / "a.mp4").touch()
    assert len(planned([films], films / "out", recursive=True)) == 5
    assert len(planned([films / "**" / "*.mp4"], films / "out")) == 1


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["films/a.mp4", "other/A.mp4"], OutputError, "one result.*recursive"),
        (["films/b.AVI", "other/b.mkv"], OutputError, "one result"),
        (["out/a.mp4"], OutputError, "replace an input"),
        (["out"], OutputError, "among the inputs"),
        (["films/clip", "tree"], OutputError, "lie in another"),
        (["none.mp4"], InputError, "none.mp4 does not exist"),
        (["films/*.webm"], InputError, "Nothing is found"),
        (["empty"], InputError, "no films.*--recursive"),
        ([], UsageError, "no inputs"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_done(films, tmp_path, words, error, said):
    for name in ("other/A.mp4", "other/b.mkv", "out/a.mp4", "tree/clip/x.mp4", "empty/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(error, match=said):
        plan_batch([str(tmp_path / word) for word in words], tmp_path / "out", recursive=words[-1:] == ["tree"])


def test_lists_have_one_input_on_a_line():
    assert read_list("# mine\na b.mp4\n\n  films \n") == ["a b.mp4", "films"]
