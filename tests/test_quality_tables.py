"""The quality tables of README and model card are what was measured, of the weights that are in the package."""

import json
import runpy
from pathlib import Path

import pytest

from dgafvsr.evaluation.cache import hash_file
from dgafvsr.models.checkpoints import packaged_model

ROOT = Path(__file__).parents[1]
TABLES = runpy.run_path(str(ROOT / "benchmarks" / "quality_tables.py"))
RESULT = json.loads(TABLES["RESULTS"].read_text())


@pytest.mark.parametrize(("document", "render"), [("README", "render_readme"), ("CARD", "render_card")])
def test_table_is_the_measured_one(document, render):
    text = TABLES[document].read_text()
    assert TABLES["replace_table"](text, TABLES[render](RESULT)) == text, "run benchmarks/quality.py"


def test_the_packaged_weights_were_measured():
    folder = packaged_model()
    found = {name: hash_file(folder / name) for name in RESULT["weights"]}
    assert found == RESULT["weights"], "run benchmarks/quality.py: the tables are about other weights"
    assert any(name.startswith("guidance/") for name in found)


def test_results_name_no_place_of_a_machine():
    assert "truth" not in RESULT
    assert not any(part.startswith("/") for part in RESULT["command"].split())


def test_means_are_means_of_the_clips():
    for method in RESULT["methods"].values():
        for metric, mean in method["mean"].items():
            values = [scores[metric] for scores in method["clips"].values()]
            assert sum(values) / len(values) == pytest.approx(mean)


def test_numbers_have_their_columns_decimals():
    scores = {"mean": dict.fromkeys(TABLES["COLUMNS"], 0.12345), "clips": {}}
    made = {"clips": ["a", "b"], "max_frames": 2, "methods": {"bicubic": scores, "packaged, guidance on": scores}}
    assert "| packaged model, guidance on | .12 | .123 | .123 | .1 | .12 |" in TABLES["render_readme"](made)


@pytest.mark.parametrize("text", ["no marker", "<!-- end of the quality table --><!-- quality table -->"])
def test_document_without_markers_is_refused(text):
    with pytest.raises(SystemExit):
        TABLES["replace_table"](text, "x")
