"""What the documents say exists: commands, options, files. Whether their commands run is tested in `docs/`."""

import re

import pytest
import typer

from dgafvsr.apps.cli.main import app
from tests.docs.documents import DOCUMENTS, ROOT, blocks

COMMANDS = typer.main.get_command(app).commands


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def options_of(command):
    names = [name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]]
    return {name for name in names if name.startswith("-")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_and_options_exist(document):
    names = "|".join(COMMANDS)
    for line in re.findall(rf"dgafvsr (?:{names})\b[^`\n]*", document.read_text()):
        words = line.split("#")[0].split()
        command = COMMANDS[words[1]]
        if options := set(re.findall(r"--[a-z-]+", " ".join(words))):
            command = getattr(command, "commands", {words[2]: command})[words[2]]  # of a group, such as data
            assert options <= options_of(command), line


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_named_options_exist_in_some_command(document):
    groups = [getattr(command, "commands", {"": command}).values() for command in COMMANDS.values()]
    known = {option for group in groups for command in group for option in options_of(command)}
    others = [words for block in blocks(document) for words in block.commands if words[0] != "dgafvsr"]
    known |= {word for words in others for word in words if word.startswith("--")}
    assert set(re.findall(r"`(--[a-z-]+)[` ]", document.read_text())) <= known


def test_option_table_is_complete():
    table = (ROOT / "README.md").read_text().partition("### Options")[2].partition("## The method")[0]
    assert set(re.findall(r"`(--[a-z-]+)`", table)) == options_of(COMMANDS["upscale"]) - {"--help", "-h"}


@pytest.mark.parametrize("document", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_make_targets_exist(document):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", document.read_text(), re.MULTILINE)) <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text())
    missing = [link for link in links if not (document.parent / link).exists()]
    assert missing == []


def test_python_example_of_the_readme_is_short():
    code = (ROOT / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    assert 0 < len(code.splitlines()) <= 12
