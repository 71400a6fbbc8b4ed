"""Trains in the processes that torch.distributed.run starts: `in_processes.py WHAT FOLDER ...`, results in FOLDER."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor
from toys import CONFIG, ToyStage

from dgafvsr.errors import UsageError
from dgafvsr.training.checkpoints import whole
from dgafvsr.training.trainer import TrainOptions, train

RANK = int(os.environ["RANK"])


def toy(folder, steps):
    """The toy; the first process saves what was learned."""
    stage = ToyStage()
    train(stage, replace(CONFIG, steps=int(steps)), folder=folder, name="toy")
    weights = {name: whole(value).contiguous() for name, value in stage.trained.state_dict().items()}
    if RANK == 0:
        save_file(weights, folder / "weights.safetensors")


def networks(folder):
    """A real stage under DDP, then under FSDP2: whole, and in two parts."""
    from real_stages import GUIDANCE_CONFIG, guidance_stage

    def go_on(name, **options):
        made = guidance_stage()
        train(made, GUIDANCE_CONFIG, folder=folder / name, name="guidance", options=TrainOptions(**options))
        return made

    go_on("ddp")
    pretend_gpus()
    made = go_on("fsdp")
    assert all(isinstance(parameter, DTensor) for parameter in made.parameters())
    try:  # another phase of the same networks
        train(made, GUIDANCE_CONFIG, folder=folder / "again", name="again")
    except UsageError as error:
        (folder / "again.txt").write_text(str(error))
    asked = []
    go_on("parts", stop=lambda: asked.append(0) or len(asked) >= 2)
    assert len(asked) == 2
    go_on("parts")


def pretend_gpus():
    """Have accelerate shard: FSDP2 itself works on CPUs, but accelerate turns it on for GPUs only."""
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    AcceleratorState().fsdp_plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    for shared in (AcceleratorState._shared_state, PartialState._shared_state):
        shared["distributed_type"] = DistributedType.FSDP


def clocks(folder, data, overrides):
    """The time of the second process alone is up: within a phase, and in a run before its first phase."""
    from dgafvsr.training.recipes import run
    from dgafvsr.training.runs import RunOptions

    budget = {"max_minutes": 0.0 if RANK else None}
    phase = train(ToyStage(), CONFIG, folder=folder / "phase", name="toy", options=TrainOptions(**budget))
    made = {"data": Path(data), "output": folder / "run", "overrides": json.loads(overrides)}
    result = run("autoencoder-tiny", options=RunOptions(**budget), **made)
    (folder / f"{RANK}.json").write_text(json.dumps([phase.step, phase.finished, result.name]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    what = {each.__name__: each for each in (toy, networks, clocks)}
    what[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
    torch.distributed.barrier()
    # What is tested is done. gloo's threads abort, once in many runs, a process that takes its time to end.
    os._exit(0)
