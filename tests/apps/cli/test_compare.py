import pytest
from PIL import Image

from dgafvsr.apps.cli.main import run
from tests.apps.cli import films
from tests.video.test_deinterlacing import interlaced_film


@pytest.fixture
def larger(tmp_path):
    return films.write_video(tmp_path / "large.mp4", width=88, height=72)


def test_films_become_a_video_and_a_sheet(video, larger, tmp_path, capsys):
    words = [str(video), str(larger), str(tmp_path / "out.mp4"), "--sheet", str(tmp_path / "s.png")]
    assert run(["compare", *words, "--layout", "split", "--labels", "input,result", "--reference", str(larger)]) == 0
    printed = capsys.readouterr().out
    assert "frames  5" in printed
    assert "s.png" in printed
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.format == "PNG"


@pytest.mark.parametrize(
    ("options", "code"),
    [(["--labels", "one"], 2), (["--layout", "wipe"], 2), (["--reference", "r.mp4"], 2), (["--sheet", "s.jpg"], 2)],
)
def test_wrong_option_is_one_line_and_leaves_nothing(video, larger, tmp_path, capsys, options, code):
    assert run(["compare", str(video), str(larger), str(tmp_path / "out.mp4"), *options]) == code
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out.mp4").exists()


def test_missing_film_is_exit_3(video, tmp_path, capsys):
    assert run(["compare", str(video), str(tmp_path / "none.mp4"), str(tmp_path / "out.mp4")]) == 3
    assert "none.mp4" in capsys.readouterr().err


def test_limits_and_damage_options_reach_the_films(video, tmp_path, capsys):
    folder = films.write_pictures(tmp_path / "in")
    (folder / "001.png").write_text("no picture")
    words = ["compare", str(video), str(folder), str(tmp_path / "out.mp4")]
    assert run([*words, "--max-frames", "3"]) == 3
    assert "--max-frames" in capsys.readouterr().err
    assert run(words) == 3
    assert run([*words, "--on-error", "ignore"]) == 2
    capsys.readouterr()
    assert run([*words, "--on-error", "skip-damaged"]) == 0
    assert f"note: {folder}: 001.png cannot be read and is left out" in capsys.readouterr().err


def test_interlaced_film_is_compared_on_demand(tmp_path, capsys):
    film = str(interlaced_film(tmp_path / "in.mp4"))
    words = ["compare", film, film, str(tmp_path / "out.mp4")]
    assert run(words) == 3
    assert "--deinterlace" in capsys.readouterr().err
    assert run([*words, "--deinterlace"]) == 0
