import re

import pytest
import typer
from typer.testing import CliRunner

from dgafvsr import __version__
from dgafvsr.apps.cli.main import app

WIDE = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
COMMANDS = typer.main.get_command(app).commands


def leaves(command, *words):
    """Every command that runs, as (words, command); groups hold further ones."""
    if not hasattr(command, "commands"):
        yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, *words, name)


LEAVES = dict(leaves(typer.main.get_command(app)))


def help_of(*words):
    result = CliRunner().invoke(app, [*words, "--help"], env=WIDE)
    assert result.exit_code == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", result.output)


def test_commands_are_listed():
    text = help_of()
    assert {"evaluate", "info", "train", "upscale"} <= set(COMMANDS)
    for name in COMMANDS:
        assert f" {name} " in text


def test_without_a_command_help_is_shown():
    result = CliRunner().invoke(app, [], env=WIDE)
    assert result.exit_code == 0
    assert "upscale" in result.output


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_parameter_is_documented(words):
    name, text = " ".join(words), help_of(*words)
    for parameter in LEAVES[words].params:
        if parameter.name == "help":
            continue
        assert parameter.help, f"{name}: {parameter.name} has no help"
        for option in [*parameter.opts, *parameter.secondary_opts] if parameter.param_type_name == "option" else []:
            assert option in text, f"{name} --help does not show {option}"


def test_help_names_every_recipe_metric_protocol_and_flow():
    from typing import get_args

    from dgafvsr.evaluation.metrics import METRICS
    from dgafvsr.evaluation.protocols import PROTOCOLS
    from dgafvsr.flow.estimator import FlowEstimatorName
    from dgafvsr.training.recipes import RECIPES
    from dgafvsr.video.writer import CONTAINER_FORMATS, Codec

    expected = {
        "train": RECIPES,
        "evaluate": [*METRICS, *PROTOCOLS, *get_args(FlowEstimatorName)],
        "upscale": [*get_args(FlowEstimatorName), *get_args(Codec), *CONTAINER_FORMATS],
    }
    for command, names in expected.items():
        text = help_of(command)
        for name in names:
            assert name in text, f"{command} --help does not name {name}"


def test_version():
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"dgafvsr {__version__}\n")
