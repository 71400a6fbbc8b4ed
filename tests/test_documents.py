"""What the documents say exists: commands, options, files."""

import re
import runpy
from pathlib import Path

import pytest
import typer
from PIL import Image

from dgafvsr import DGAFVSRPipeline
from dgafvsr.apps.cli.main import app
from tests import factories

ROOT = Path(__file__).parents[1]
NAMES = ("README.md", "CONTRIBUTING.md", "examples/README.md")
DOCUMENTS = [*(ROOT / name for name in NAMES), *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = typer.main.get_command(app).commands


def options_of(command):
    names = [name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]]
    return {name for name in names if name.startswith("-")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_options_exist(document):
    names = "|".join(COMMANDS)
    for line in re.findall(rf"dgafvsr (?:{names})\b[^`\n]*", document.read_text()):
        words = line.split("#")[0].split()
        command = COMMANDS[words[1]]
        if options := set(re.findall(r"--[a-z-]+", " ".join(words))):
            command = getattr(command, "commands", {words[2]: command})[words[2]]  # of a group, such as data
            assert options <= options_of(command), line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_named_options_exist_in_some_command(document):
    groups = [getattr(command, "commands", {"": command}).values() for command in COMMANDS.values()]
    known = {option for group in groups for command in group for option in options_of(command)}
    assert set(re.findall(r"`(--[a-z-]+)[` ]", document.read_text())) <= known


def test_option_table_is_complete():
    table = (ROOT / "README.md").read_text().partition("### Options")[2].partition("## The method")[0]
    assert set(re.findall(r"`(--[a-z-]+)`", table)) == options_of(COMMANDS["upscale"]) - {"--help", "-h"}


@pytest.mark.parametrize("document", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_make_targets_exist(document):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", document.read_text(), re.MULTILINE)) <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text())
    missing = [link for link in links if not (document.parent / link).exists()]
    assert missing == []


def test_python_example_runs(tmp_path, monkeypatch):
    code = (ROOT / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    assert len(code.splitlines()) <= 12
    (tmp_path / "frames").mkdir()
    for index, pixels in enumerate(factories.clip(8, 18, 22)):
        Image.fromarray(pixels).save(tmp_path / "frames" / f"{index:04d}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DGAFVSRPipeline, "from_pretrained", factories.pipeline)
    (tmp_path / "example.py").write_text(code)
    runpy.run_path(str(tmp_path / "example.py"))
    assert Image.open(tmp_path / "large" / "0007.png").size == (88, 72)
