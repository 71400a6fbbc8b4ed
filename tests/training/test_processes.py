from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from real_stages import GUIDANCE_CONFIG, guidance_stage, whole_batch
from safetensors.torch import load_file
from toys import CONFIG, ToyStage

from conftest import TINY_OVERRIDES
from dgafvsr.errors import UsageError
from dgafvsr.training.checkpoints import latest_checkpoint, load_checkpoint
from dgafvsr.training.trainer import TrainOptions, train

SCRIPT = Path(__file__).with_name("in_processes.py")
ROOT = Path(__file__).parents[2]


def in_two_processes(*words, **environment):
    """Two processes of a program, at their end."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *map(str, words)]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    settings = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": paths, **environment}
    return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=300)


def train_in_two_processes(what, folder, *words):
    folder.mkdir(exist_ok=True)
    done = in_two_processes(SCRIPT, what, folder, *words)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Folders of the guidance stage: `one` process; two with `ddp`, with `fsdp`, and with that in `parts`."""
    folder = tmp_path_factory.mktemp("networks")
    train(guidance_stage(), whole_batch(), folder=folder / "one", name="guidance")
    train_in_two_processes("networks", folder)
    return folder


def alone(folder, steps):
    stage = ToyStage()
    train(stage, replace(CONFIG, steps=steps), folder=folder, name="toy")
    return stage.trained.state_dict()


def losses(folder):
    lines = map(json.loads, (folder / "losses.jsonl").read_text().splitlines())
    return [(line["step"], line["losses"]["loss"], line["noise_levels"]) for line in lines]


def test_two_processes_learn_what_one_does(tmp_path):
    expected = alone(tmp_path / "one", 6)
    train_in_two_processes("toy", tmp_path / "two", 6)
    found = load_file(tmp_path / "two" / "weights.safetensors")
    # Noise belongs to the sample, so both see the same numbers; only the order of summation differs: float32 rounding.
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-5)
    for (step, loss, levels), (_, other, others) in zip(
        losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True
    ):
        assert loss == pytest.approx(other, rel=1e-5), step
        assert numbers(levels) == pytest.approx(numbers(others), rel=1e-5)


def numbers(levels):
    """Levels without samples as -1."""
    return [-1 if level is None else level for level in levels]


def assert_learned_alike(found, expected):
    """Two folders of the guidance stage: the same losses, and the same gradients in Adam's first moments.

    The order of summation differs: float32 rounding of sums over some thousand numbers, carried through the steps. The
    weights themselves are no measure: where a gradient is rounding alone, Adam still moves by its rate.
    """
    for (step, loss, levels), (_, other, others) in zip(losses(found), losses(expected), strict=True):
        assert loss == pytest.approx(other, rel=1e-4), step
        assert numbers(levels) == pytest.approx(numbers(others), rel=1e-4), step
    moments = [load_checkpoint(latest_checkpoint(folder)).group("exp_avg") for folder in (found, expected)]
    largest = max(float(value.abs().max()) for value in moments[1].values())
    assert set(moments[0]) == set(moments[1])
    for name, value in moments[1].items():
        torch.testing.assert_close(moments[0][name], value, atol=1e-4 * largest, rtol=0, msg=name)


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_two_processes_train_real_networks_as_one_does(networks, way):
    assert len(losses(networks / way)) == GUIDANCE_CONFIG.steps
    assert_learned_alike(networks / way, networks / "one")


def test_sharded_networks_go_on_to_the_same_bits(networks):
    assert losses(networks / "parts") == losses(networks / "fsdp")
    found, expected = (load_checkpoint(latest_checkpoint(networks / each)) for each in ("parts", "fsdp"))
    assert set(found.tensors) == set(expected.tensors)
    assert all(torch.equal(value, expected.tensors[name]) for name, value in found.tensors.items())


def test_networks_that_are_sharded_already_are_refused(networks):
    assert "FSDP trains recipes of one phase" in (networks / "again.txt").read_text()


def test_a_run_goes_on_with_another_number_of_processes(tmp_path):
    expected = alone(tmp_path / "whole", 6)
    stage = ToyStage()
    train(stage, replace(CONFIG, steps=6), folder=tmp_path / "parts", name="toy", options=stop_after(3))
    assert load_checkpoint(latest_checkpoint(tmp_path / "parts")).step == 3
    train_in_two_processes("toy", tmp_path / "parts", 6)
    found = load_file(tmp_path / "parts" / "weights.safetensors")
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-5)


def stop_after(steps):
    asked = []
    return TrainOptions(stop=lambda: asked.append(0) or len(asked) >= steps)


def test_processes_whose_clocks_differ_stop_together(data_folder, tmp_path):
    overrides = {
        key.removeprefix("autoencoder."): value for key, value in TINY_OVERRIDES.items() if key.startswith("auto")
    }
    train_in_two_processes("clocks", tmp_path, data_folder, json.dumps(overrides))
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)] == [[1, False, "run"]] * 2
    assert load_checkpoint(latest_checkpoint(tmp_path / "phase")).step == 1
    assert latest_checkpoint(tmp_path / "run" / "autoencoder") is None


def test_sharding_on_cpus_is_refused_in_one_sentence(data_folder, tmp_path):
    """accelerate would train with DDP instead, and say nothing."""
    words = ("train", "autoencoder-tiny", "--data", data_folder, "--output", tmp_path / "run")
    environment = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    done = in_two_processes("-m", "dgafvsr.apps.cli.main", *words, **environment)
    assert done.returncode != 0
    assert "error: FSDP was asked for, but accelerate shards weights on GPUs only. Got: 2 processes on cpu" in (
        done.stderr
    )
    assert "internal error" not in done.stderr
    assert latest_checkpoint(tmp_path / "run" / "autoencoder") is None


def test_a_batch_that_the_processes_cannot_share_is_refused(tmp_path):
    with pytest.raises(UsageError, match="micro_batch does not divide"):
        train(ToyStage(), replace(CONFIG, micro_batch=3), folder=tmp_path, name="toy")
