import csv
import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from dgafvsr.analysis.report import AnalysisReport, Section, rich_table, save_report, to_csv, to_json, to_markdown
from dgafvsr.errors import OutputError

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


@pytest.mark.parametrize("width", [24, 80])
def test_screen_shows_whole_numbers_and_brackets(width):
    first = replace(REPORT.sections[0], rows=(("model[1]", 1.23456),))
    report = replace(REPORT, sections=(first,))
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(rich_table(report))
    text = console.export_text()
    assert "…" not in text
    assert "1.235" in text
    assert "model[1]" in text
