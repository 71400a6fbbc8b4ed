import importlib
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SYMBOLS = re.findall(r"`(dgafvsr\.[\w.]+)`", (DOCS / "paper_map.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_symbol_resolves(symbol):
    parts = symbol.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            found = getattr(found, name)
        return
    pytest.fail(f"{symbol} does not exist")


def test_deviations_name_tests_that_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)`", (DOCS / "deviations.md").read_text(encoding="utf-8"))
    assert named
    assert all((DOCS.parent / name).is_file() for name in named)
