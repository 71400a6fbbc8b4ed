"""Trains the toy in the processes that torch.distributed.run starts; the first one saves what was learned."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from toys import CONFIG, ToyStage

from dgafvsr.training.checkpoints import whole
from dgafvsr.training.trainer import train

if __name__ == "__main__":
    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    stage = ToyStage()
    train(stage, replace(CONFIG, steps=steps), folder=folder, name="toy")
    weights = {name: whole(value).contiguous() for name, value in stage.trained.state_dict().items()}
    if torch.distributed.get_rank() == 0:
        save_file(weights, folder / "weights.safetensors")
    torch.distributed.barrier()
    # What is tested is done. gloo's threads abort, once in many runs, a process that takes its time to end.
    os._exit(0)
