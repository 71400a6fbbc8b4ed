"""What the site shows of files outside `docs/`: the dated results of the benchmarks."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
OVERVIEW, PLACE = "benchmarks.md", "benchmarks"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The site's files with a page for every result, at `benchmarks/NAME`."""
    for path in sorted(RESULTS.glob("*.md")):
        page = File.generated(config, f"{PLACE}/{path.name}", abs_src_path=str(path))
        page.inclusion = InclusionLevel.NOT_IN_NAV  # the overview lists them
        files.append(page)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The overview of the benchmarks with a link to every result."""
    if page.file.src_uri != OVERVIEW:
        return markdown
    rows = []
    for path in sorted(RESULTS.glob("*.md"), reverse=True):
        title = next(
            (line[2:] for line in path.read_text(encoding="utf-8").splitlines() if line[:2] == "# "), path.stem
        )
        rows.append(f"- [{title}]({PLACE}/{path.name})")
    return "\n".join([markdown, "## Results", "", *rows]) if rows else markdown
