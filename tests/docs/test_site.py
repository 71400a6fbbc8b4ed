"""What the site promises before it is built; `make docs` builds it strictly."""

import re
from types import SimpleNamespace

import pytest

from tests.docs.documents import DOCUMENTS, ROOT

CONFIG = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
PAGES = [path for path in DOCUMENTS if path.is_relative_to(ROOT / "docs")]


def test_every_page_is_in_the_navigation_and_there():
    named = set(re.findall(r"[\w/-]+\.md", CONFIG.partition("\nnav:")[2].partition("\n\n")[0]))
    assert named == {page.relative_to(ROOT / "docs").as_posix() for page in PAGES}


def test_site_fetches_nothing():
    assert "font: false" in CONFIG
    assert re.findall(r"https?://\S+", CONFIG) == []


@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "images").glob("method_*")), ids=lambda path: path.name)
def test_pictures_of_the_method_are_small(picture):
    assert picture.stat().st_size < 150_000


def test_reference_shows_modules_that_exist():
    named = [name for page in PAGES for name in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.MULTILINE)]
    assert len(named) > 50
    missing = [name for name in named if not (ROOT / "src" / name.replace(".", "/")).with_suffix(".py").exists()]
    assert missing == []


def test_included_files_exist():
    included = [name for page in PAGES for name in re.findall(r'--8<-- "([^":]+)', page.read_text("utf-8"))]
    assert included
    assert [name for name in included if not (ROOT / name).exists()] == []


def test_results_of_benchmarks_become_pages(tmp_path, monkeypatch):
    pytest.importorskip("mkdocs")
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

    (tmp_path / "2026-11-23.md").write_text("# Two cores\n\nSlow.\n")
    config = MkDocsConfig()
    config.load_dict({"site_name": "any", "docs_dir": str(tmp_path), "hooks": [str(ROOT / "docs" / "site_hooks.py")]})
    assert config.validate() == ([], [])
    (hooks,) = config.hooks.values()
    monkeypatch.setattr(hooks, "RESULTS", tmp_path)
    (page,) = config.plugins.on_files(Files([]), config=config)
    assert (page.src_uri, page.content_string) == ("benchmarks/2026-11-23.md", "# Two cores\n\nSlow.\n")
    overview = SimpleNamespace(file=SimpleNamespace(src_uri="benchmarks.md"))
    text = hooks.on_page_markdown("# Benchmarks\n", overview, config, Files([page]))
    assert "[Two cores](benchmarks/2026-11-23.md)" in text
    other = SimpleNamespace(file=SimpleNamespace(src_uri="faq.md"))
    assert hooks.on_page_markdown("# Q\n", other, config, Files([page])) == "# Q\n"
