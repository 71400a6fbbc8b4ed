"""Every command line in the documents is one that its program accepts: options, arguments, recipes, targets, extras."""

import itertools
import re
import tomllib

import pytest
import typer

from dgafvsr.apps.cli.main import app
from dgafvsr.apps.cli.train import parse_override
from dgafvsr.training.overrides import with_overrides
from dgafvsr.training.recipes import RECIPES
from tests.docs.documents import BLOCKS, COMMANDS, ROOT, SHELLS

PROGRAM = typer.main.get_command(app)
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

PLAIN = {"cp", "mkdir", "ray"}
"""Programs that are not ours and whose options are not looked at."""

TO_FILL_IN = {"RECIPE"}
"""Words that stand for a choice of the reader's where a recipe is expected."""


def check_dgafvsr(words):
    """Parse as the program does; nothing is run."""
    if words[:1] in (["--version"], ["--help"]):
        return
    command = PROGRAM
    for depth, word in enumerate(words):
        subcommands = getattr(command, "commands", None)
        if subcommands is None:
            break
        assert word in subcommands, f"no command {word}"
        command = subcommands[word]
        rest = words[depth + 1 :]
    if rest not in (["--help"], ["-h"]):
        context = command.make_context("dgafvsr", list(rest))
        if command.name == "train":
            check_training(context.params)


def check_training(given):
    """The recipe and the fields that are set exist, and take the values."""
    recipe = given["recipe"]
    if given["show_list"] or recipe == "export" or recipe in TO_FILL_IN:
        return
    assert recipe in RECIPES
    with_overrides(RECIPES[recipe].make(), dict(parse_override(text) for text in given["override"] or []))


def check_pip(words):
    """Installs this project, with extras that it has."""
    extras = re.fullmatch(r"(?:\.|dgafvsr)(?:\[([\w,]+)\])?", words[-1])
    assert words[0] == "install"
    assert extras, words[-1]
    assert set((extras[1] or "").split(",")) - {""} <= set(PROJECT["optional-dependencies"])


def check_make(words):
    """Names targets of the Makefile; `NAME=VALUE` sets a variable of it."""
    for word in words:
        name, _, value = word.partition("=")
        assert re.search(rf"^{name} \?=" if value else rf"^{name}:", MAKEFILE, re.MULTILINE), word


def check_python(words):
    """Runs a program of ours whose text knows the options."""
    if words[0] == "-m":
        words = ["/".join(["src", *words[1].split(".")]) + ".py", *words[2:]]
    source = (ROOT / words[0]).read_text(encoding="utf-8")
    for option in (word for word in words if word.startswith("--")):
        assert f'"{option.partition("=")[0]}"' in source, option


def check_accelerate(words):
    """Starts our program in several processes."""
    start = words.index("-m")
    assert words[start + 1] == "dgafvsr.apps.cli.main"
    check_dgafvsr(words[start + 2 :])


def check_docker(words):
    """Build arguments and secrets are the Dockerfile's; what is run is a command of ours."""
    if words[0] == "build":
        given = [word.partition("=")[0] for before, word in itertools.pairwise(words) if before == "--build-arg"]
        assert set(given) <= set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
        for secret in re.findall(r"id=(\w+)", " ".join(words)):
            assert f"type=secret,id={secret}" in DOCKERFILE
    elif words[0] == "run":
        image = next(index for index, word in enumerate(words) if re.fullmatch(r"dgafvsr:\w+", word))
        check_dgafvsr(words[image + 1 :])


CHECKS = {
    "accelerate": check_accelerate,
    "dgafvsr": check_dgafvsr,
    "docker": check_docker,
    "make": check_make,
    "pip": check_pip,
    "python": check_python,
}


@pytest.mark.parametrize(
    ("block", "words"), COMMANDS, ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else str(value)
)
def test_command_line_is_accepted(block, words):
    if words[0] in CHECKS:
        CHECKS[words[0]](words[1:])
    else:
        assert words[0] in PLAIN, f"{block}: nobody has said that {words[0]} may stand there"


def test_fences_name_their_language():
    known = {"", *SHELLS, "bibtex", "dockerfile", "ini", "json", "python", "text", "toml", "yaml"}
    assert {block.language for block in BLOCKS} <= known


def test_documents_have_commands():
    assert len(COMMANDS) > 80
