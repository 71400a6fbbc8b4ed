"""What docs and reviews promise about every file of the source."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
HOMELESS = {"common", "helper", "helpers", "misc", "util", "utils"}


def exported(source):
    """The names in `__all__`, None without one."""
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", None) == "__all__" for target in node.targets):
            return [name for name in ast.literal_eval(node.value)]
    return None


def by_kind(name):
    """The order of isort and ruff: CONSTANTS, Classes, functions."""
    plain = name.strip("_")
    return (0 if plain.isupper() and len(plain) > 1 else 1 if plain[:1].isupper() else 2, name)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_keeps_the_house_rules(source):
    assert len(source.read_text().splitlines()) <= 400
    assert not {source.stem, source.parent.name} & HOMELESS
    names = exported(source)
    if names is not None:
        assert names == sorted(set(names), key=by_kind)
    elif source.name not in ("__init__.py", "__main__.py"):
        pytest.fail("no __all__")


def test_every_file_has_a_docstring():
    assert [path for path in SOURCES if ast.get_docstring(ast.parse(path.read_text())) is None] == []


def tracked_texts():
    kinds = {".py", ".md", ".toml", ".txt", ".yml", ".cfg", ""}
    skipped = {".git", ".venv", ".hypothesis", ".mypy_cache", ".ruff_cache", ".pytest_cache", "demo", "runs"}
    for path in sorted(ROOT.rglob("*")):
        if path.is_file() and path.suffix in kinds and not skipped & set(path.relative_to(ROOT).parts):
            yield path


def test_no_registry_or_home_folder_is_named():
    wrong = re.compile(r"--(extra-)?index-" + r"url|find-" + r"links|/ho" + r"me/\w|/ro" + r"ot/|/Us" + r"ers/\w")
    assert [str(path) for path in tracked_texts() if wrong.search(path.read_text(errors="ignore"))] == []
