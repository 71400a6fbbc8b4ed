"""The documents' commands and programs really run: in an emptied reader's folder, with small material and toy models.

Every block begins with a folder of its own; those of a tutorial or a how-to page follow one another, as they do for a
reader. What cannot run in a test is listed here with the reason; `test_command_lines` looks at those too.
"""

import os
import re
import runpy
import urllib.error

import pytest
import torch

import dgafvsr.models.checkpoints
from dgafvsr.apps.cli.main import run
from dgafvsr.training import recipes
from tests.docs import sandbox
from tests.docs.documents import BLOCKS, SHELLS

NOT_RUN = {
    r"^(pip|make|docker|accelerate|ray) ": "installs, or needs another machine",
    r"^python ": "takes minutes with the packaged model, or measures on data that is not in the project",
    r"train (guidance-sdx4|stablevsr) ": "needs gigabytes of weights and a GPU",
    r"(stabilityai|claudiom4sir)/": "needs the weights of a hub repository",
    r"niqe|musiq|clipiqa|real-esrgan": "needs an extra with a licence or weights of its own",
    r"train tiny .*trainer.steps=160": "trains for half an hour",
    r"train RECIPE ": "the recipe is for the reader to choose",
    r"train guidance-tiny ": "goes on with a run that has the stages before it; tests/training/test_recipes.py runs it",
    r"^dgafvsr serve": "serves until it is stopped; tests/apps/web run it",
    r"^dgafvsr batch .*--ray": "needs a cluster; tests/jobs run one of this machine",
}
"""Pattern of a command -> why it is not run here."""

SLOW = re.compile(r"^dgafvsr (analyze|train (ablation|finetune)) ")
"""Commands that compute for long even on toys; their blocks are run by `make test-slow`."""

TOO_LARGE = {"--size 1920x1080": "--size 64x48", "--height 720": "--height 48"}
"""What a real film can become, and what the small one can."""

STORIES = re.compile(r"docs/(tutorial|how-to/.+)\.md")
"""Documents whose blocks follow one another."""


def why_not(words):
    """The reason why a command is not run, None for one that is."""
    text = " ".join(words) + " "
    return next((reason for pattern, reason in NOT_RUN.items() if re.search(pattern, text)), None)


def runnable(block):
    if block.language == "python":
        return True
    return block.language in SHELLS and any(why_not(words) is None for words in block.commands)


def units():
    """Lists of blocks that share a folder."""
    stories = {}
    for block in filter(runnable, BLOCKS):
        key = block.document if STORIES.fullmatch(block.document) else str(block)
        stories.setdefault(key, []).append(block)
    return stories


@pytest.fixture
def folder(tmp_path, tmp_path_factory, monkeypatch):
    """The reader's folder: no weights, no network, one core, toy recipes and a toy model in the package's place."""
    packaged = tmp_path_factory.mktemp("packaged")
    sandbox.model(packaged)
    monkeypatch.setattr(dgafvsr.models.checkpoints, "packaged_model", lambda: packaged)
    for name, entry in sandbox.toy_recipes().items():
        monkeypatch.setitem(recipes.RECIPES, name, entry)

    def unreachable(*_, **__):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_shell(block, folder):
    """Run the commands of a block that can be run, as far as it goes without a shell."""
    for words in block.commands:
        if why_not(words):
            continue
        text = " ".join(words)
        for real, small in TOO_LARGE.items():
            text = text.replace(real, small)
        sandbox.provide(text, folder)
        if words[0] == "dgafvsr":
            before = (os.environ.copy(), torch.get_num_threads())
            code = run(words_of(words))
            assert code == 0, f"{block}: {text} left with {code}"
            assert (os.environ, torch.get_num_threads()) == before
        elif words[:2] == ["mkdir", "-p"]:
            (folder / words[2]).mkdir(parents=True, exist_ok=True)
        elif words[0] == "cp":
            target = folder / words[2]
            (target / words[1].rpartition("/")[2] if target.is_dir() else target).write_bytes(
                (folder / words[1]).read_bytes()
            )
        else:
            pytest.fail(f"{block}: {text} is neither run nor listed in NOT_RUN")


def words_of(words):
    """The arguments, with sizes that a small film can have."""
    small = {tuple(real.split()): value.split() for real, value in TOO_LARGE.items()}
    arguments = list(words[1:])
    for (option, value), (_, replacement) in small.items():
        for index in range(len(arguments) - 1):
            if arguments[index : index + 2] == [option, value]:
                arguments[index + 1] = replacement
    return arguments


def marked_units():
    """The units as parameters of a test."""
    for name, unit in units().items():
        slow = any(SLOW.search(" ".join(words)) for block in unit for words in block.commands)
        yield pytest.param(unit, id=name, marks=pytest.mark.slow if slow else ())


@pytest.mark.parametrize("unit", list(marked_units()))
def test_commands_run(unit, folder):
    for number, block in enumerate(unit):
        if block.language == "python":
            sandbox.provide(block.text.replace('"', " "), folder)
            (folder / f"program{number}.py").write_text(block.text, encoding="utf-8")
            runpy.run_path(str(folder / f"program{number}.py"))
        else:
            run_shell(block, folder)


def test_every_reason_is_needed():
    lines = [" ".join(words) + " " for block in BLOCKS for words in block.commands]
    assert [pattern for pattern in NOT_RUN if not any(re.search(pattern, line) for line in lines)] == []
