import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from dgafvsr.errors import OutputError
from dgafvsr.evaluation.metrics import Unavailable
from dgafvsr.evaluation.protocols import get_protocol
from dgafvsr.evaluation.report import footnotes, rich_tables, save_report, to_csv, to_json, to_markdown
from dgafvsr.evaluation.results import ClipScores, EvaluationResult, MethodScores


def method(name, offset):
    clips = (
        ClipScores(
            name="calendar",
            frames=(0, 1),
            values={"psnr": (20.0 + offset, 22.0 + offset), "tof": (None, 1.5)},
            path=Path(name, "calendar"),
        ),
        ClipScores(
            name="city",
            frames=(0,),
            values={"psnr": (float("inf"),), "tof": (None,)},
            path=Path(name, "city"),
            notes=("ours: shifted",),
        ),
    )
    return MethodScores(name=name, clips=clips if name == "perfect" else clips[:1])


def result(*methods, protocol="paper-vid4"):
    return EvaluationResult(
        truth=Path("gt"),
        protocol=get_protocol(protocol),
        metrics=("psnr", "lpips", "tof"),
        unavailable={"lpips": Unavailable("no weights", "no route to host")},
        methods=methods or (method("ours", 1.0), method("a|b", 0.0)),
        max_frames=12,
    )


def test_markdown_shows_methods_best_references_and_reasons():
    lines = to_markdown(result()).splitlines()
    assert lines[0] == "Protocol paper-vid4; calendar; 2 frames (at most the first 12 of each clip)"
    assert lines[2] == "| clip | method | PSNR ↑ | LPIPS ↓ | tOF x10 ↓ |"
    assert lines[4] == "| calendar | ours | **22.00** | n/a: no weights | **1.500** |"
    assert lines[5] == r"| calendar | a\|b | 21.00 | n/a: no weights | 1.500 |"
    assert lines[6] == "| calendar | *DGAF-VSR (published, calendar, all frames)* | 22.06 | 0.2037 | - |"
    assert lines[-1] == "- LPIPS n/a: no route to host"


def test_several_clips_have_rows_and_a_mean():
    text = to_markdown(result(method("perfect", 0.0), protocol="standard"))
    assert "| calendar | perfect | 21.00 | n/a: no weights | 1.500 |" in text
    assert "| city | perfect | inf | n/a: no weights | n/a: one frame |" in text
    assert "| mean | perfect | inf |" in text
    assert "- city, ours: shifted" in text
    assert "published" not in text
    assert "| city |" not in to_markdown(result(method("perfect", 0.0)), per_clip=False)


def test_json_is_strict_and_complete():
    document = json.loads(to_json(result(method("perfect", 0.0))), parse_constant=pytest.fail)
    perfect = document["methods"]["perfect"]
    assert perfect["mean"] == {"psnr": "inf", "tof": 1.5}
    assert perfect["clips"]["calendar"]["values"]["tof"] == [None, 1.5]
    assert document["unavailable"] == {"lpips": "no route to host"}
    assert document["protocol"]["flow_mode"].items() >= {"updates": 12, "signed": False, "train": True}.items()
    assert document["versions"]["torchmetrics"]


def test_csv_is_long_and_names_what_is_missing():
    rows = list(csv.DictReader(io.StringIO(to_csv(result()))))
    assert {"method": "ours", "clip": "calendar", "frame": "1", "metric": "psnr", "value": "23.0"} in rows
    assert {"method": "ours", "clip": "mean", "frame": "mean", "metric": "psnr", "value": "22.0"} in rows
    (missing,) = [row for row in rows if row["metric"] == "lpips" and row["method"] == "ours"]
    assert missing["value"] == "n/a: no route to host"


def shown(found, width):
    """What a terminal of that width shows, one string per table."""
    texts = []
    for table in rich_tables(found, width=width):
        console = Console(width=width or 1000, file=io.StringIO(), record=True)
        console.print(table)
        texts.append(console.export_text())
    return texts


def test_screen_table_has_the_same_cells():
    (text,) = shown(result(), None)
    assert "22.00" in text
    assert "weights" in text
    assert "DGAF-VSR (published, calendar, all frames)" in text
    assert footnotes(result()) == ["LPIPS n/a: no route to host"]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_narrow_terminals_get_several_tables_and_whole_numbers(width):
    texts = shown(result(), width)
    assert len(texts) == {40: 3, 60: 2}.get(width, 1)
    assert all("…" not in text for text in texts)
    assert all(len(line) <= width for text in texts for line in text.splitlines())
    for number in ("22.00", "21.00", "0.2037", "1.500"):
        assert any(number in text for text in texts)


def test_names_in_brackets_are_no_markup():
    (text,) = shown(result(method("mine [bold]", 0.0)), None)
    assert "mine [bold]" in text


@pytest.mark.parametrize("suffix", [".csv", ".json", ".md"])
def test_reports_are_saved_once_and_only_whole(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    save_report(result(), path)
    assert "22" in path.read_text(encoding="utf-8")
    with pytest.raises(OutputError, match="exists"):
        save_report(result(), path)
    save_report(result(), path, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_without_truth_the_motion_of_the_warping_error_is_said():
    text = to_markdown(replace(result(), truth=None, metrics=("psnr", "warping"), unavailable={}))
    assert "own motion" not in to_markdown(result())
    assert "E_warp x1e3: along each method's own motion" in text
