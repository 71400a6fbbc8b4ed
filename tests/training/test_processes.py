from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toys import CONFIG, ToyStage

from dgafvsr.errors import UsageError
from dgafvsr.training.checkpoints import latest_checkpoint, load_checkpoint
from dgafvsr.training.trainer import train

SCRIPT = Path(__file__).with_name("in_processes.py")


def in_two_processes(folder, steps, **environment):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    settings = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", **environment}
    done = subprocess.run(
        [*command, str(folder), str(steps)], env=os.environ | settings, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(folder / "weights.safetensors")


def alone(folder, steps):
    stage = ToyStage()
    train(stage, replace(CONFIG, steps=steps), folder=folder, name="toy")
    return stage.trained.state_dict()


def losses(folder):
    lines = map(json.loads, (folder / "losses.jsonl").read_text().splitlines())
    return [(line["step"], line["losses"]["loss"], line["noise_levels"]) for line in lines]


def test_two_processes_learn_what_one_does(tmp_path):
    expected = alone(tmp_path / "one", 6)
    found = in_two_processes(tmp_path / "two", 6)
    # Noise belongs to the sample, so both see the same numbers; only the order of summation differs: float32 rounding.
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-5)
    for (step, loss, levels), (_, other, others) in zip(
        losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True
    ):
        assert loss == pytest.approx(other, rel=1e-5), step
        for level, same in zip(levels, others, strict=True):
            assert (level is None) == (same is None)
            assert level is None or level == pytest.approx(same, rel=1e-5)


def test_a_run_goes_on_with_another_number_of_processes(tmp_path):
    expected = alone(tmp_path / "whole", 6)
    stage = ToyStage()
    train(stage, replace(CONFIG, steps=6), folder=tmp_path / "parts", name="toy", options=stop_after(3))
    assert load_checkpoint(latest_checkpoint(tmp_path / "parts")).step == 3
    found = in_two_processes(tmp_path / "parts", 6)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-5)


def stop_after(steps):
    from dgafvsr.training.trainer import TrainOptions

    asked = []
    return TrainOptions(stop=lambda: asked.append(0) or len(asked) >= steps)


def test_a_batch_that_the_processes_cannot_share_is_refused(tmp_path):
    with pytest.raises(UsageError, match="micro_batch does not divide"):
        train(ToyStage(), replace(CONFIG, micro_batch=3), folder=tmp_path, name="toy")
