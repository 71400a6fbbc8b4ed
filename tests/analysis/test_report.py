import csv
import io
import json
import math

import pytest

from dgafvsr.analysis.plots import Curve, Panel, save_plot
from dgafvsr.analysis.report import AnalysisReport, Section, check_targets, save_report, to_csv, to_json, to_markdown
from dgafvsr.errors import OutputError, UsageError

REPORT = AnalysisReport(
    title="What | where",
    sections=(
        Section(title="first", columns=("name", "value"), rows=(("a", 1.23456), ("b|c", None)), decimals=3),
        Section(title="second", columns=("s",), rows=((4,), (math.nan,))),
    ),
    notes=("A definition.",),
    settings={"seed": 7},
)


def test_markdown_has_every_cell():
    text = to_markdown(REPORT)
    assert "| a | 1.235 |" in text
    assert "| b\\|c | - |" in text
    assert text.endswith("- A definition.\n")


def test_csv_and_json_keep_all_digits():
    rows = list(csv.reader(io.StringIO(to_csv(REPORT))))
    assert rows[1] == ["first", "a", "1.23456"]
    document = json.loads(to_json(REPORT))
    assert document["sections"]["first"][0] == {"name": "a", "value": 1.23456}
    assert document["sections"]["second"][1] == {"s": None}
    assert document["settings"] == {"seed": 7}


def test_reports_are_written_by_suffix_and_never_replaced_unasked(tmp_path):
    for suffix in ("md", "csv", "json"):
        save_report(REPORT, tmp_path / f"r.{suffix}")
    with pytest.raises(OutputError):
        save_report(REPORT, tmp_path / "r.md")
    save_report(REPORT, tmp_path / "r.md", overwrite=True)
    assert len(list(tmp_path.iterdir())) == 3


def test_wrong_endings_are_refused(tmp_path):
    with pytest.raises(UsageError):
        check_targets([tmp_path / "r.png"], [])
    with pytest.raises(UsageError):
        check_targets([], [tmp_path / "r.md"])


def test_plot_is_a_picture_and_leaves_nothing_else(tmp_path):
    pytest.importorskip("matplotlib")
    from PIL import Image

    curves = (Curve(name="a", points=((1, 2), (2, 3))), Curve(name="b", points=((1, 1),), dashed=True))
    panels = [[Panel(title="t", x_label="s", curves=curves)] * 2]
    save_plot(panels, tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.size[0] > picture.size[1]
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
    with pytest.raises(OutputError):
        save_plot(panels, tmp_path / "p.png")
