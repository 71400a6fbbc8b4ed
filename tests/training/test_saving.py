from __future__ import annotations

import sys
import types

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from toys import CONFIG

from dgafvsr.errors import UsageError
from dgafvsr.training.checkpoints import (
    Checkpoint,
    latest_checkpoint,
    load_checkpoint,
    optimizer_tensors,
    place,
    restore_optimizer,
    save_checkpoint,
    whole,
)
from dgafvsr.training.optimizers import Average, make_optimizer


@pytest.fixture
def mesh(tmp_path):
    """A world of one process, in which FSDP shards as in a large one."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'world'}", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


def trained(network, steps=3):
    """The optimiser and the average after some steps on fixed data."""
    optimizer, average = make_optimizer(list(network.parameters()), CONFIG), Average(network, 0.9)
    for step in range(steps):
        optimizer.zero_grad()
        network(torch.ones(4, 5) * (step + 1)).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.step()
        average.update(step)
    return optimizer, average


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(5, 5)


def test_sharded_weights_moments_and_averages_survive_a_checkpoint(mesh, tmp_path):
    plain, sharded = network(), fully_shard(network(), mesh=mesh)
    expected_optimizer, expected = trained(plain)
    optimizer, average = trained(sharded)
    assert isinstance(sharded.weight, DTensor)
    assert isinstance(average.tensors["weight"], DTensor)
    tensors = {f"average.{name}": whole(value) for name, value in average.tensors.items()}
    moments = optimizer_tensors(optimizer, sharded)
    save_checkpoint(tmp_path, Checkpoint(step=3, tensors={**tensors, **moments}))
    found = load_checkpoint(latest_checkpoint(tmp_path))
    for name, value in expected.tensors.items():
        torch.testing.assert_close(found.group("average")[name], value)
    for key, value in optimizer_tensors(expected_optimizer, plain).items():
        torch.testing.assert_close(found.tensors[key], value)
    again = fully_shard(network(), mesh=mesh)
    restored = make_optimizer(list(again.parameters()), CONFIG)
    restore_optimizer(restored, again, found)
    moment = restored.state[again.weight]["exp_avg"]
    assert isinstance(moment, DTensor)
    assert torch.equal(whole(moment), found.tensors["exp_avg.weight"])
    assert torch.equal(whole(place(plain.weight.detach(), again.weight)), plain.weight)


def test_adam_is_fused_and_goes_on_bit_for_bit_after_a_checkpoint(tmp_path):
    whole_run, first = network(), network()
    assert all(group["fused"] for group in make_optimizer(list(first.parameters()), CONFIG).param_groups)
    trained(whole_run, steps=3)
    optimizer, _ = trained(first, steps=3)
    save_checkpoint(tmp_path, Checkpoint(step=3, tensors=optimizer_tensors(optimizer, first)))
    again = network()
    again.load_state_dict(first.state_dict())
    restored = make_optimizer(list(again.parameters()), CONFIG)
    restore_optimizer(restored, again, load_checkpoint(latest_checkpoint(tmp_path)))
    for each, with_optimizer in ((first, optimizer), (again, restored)):
        with_optimizer.zero_grad()
        each(torch.ones(4, 5) * 4).square().mean().backward()
        with_optimizer.step()
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, whole_run.weight)


@pytest.mark.parametrize("moment", ["exp_avg", "state1"])
def test_moments_lie_in_memory_as_their_weights_do(tmp_path, moment):
    convolution = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    kept = torch.arange(108.0).view(4, 3, 3, 3).to(torch.uint8 if moment == "state1" else torch.float32)
    save_checkpoint(tmp_path, Checkpoint(step=1, tensors={f"{moment}.weight": kept}))
    optimizer = make_optimizer(list(convolution.parameters()), CONFIG)
    restore_optimizer(optimizer, convolution, load_checkpoint(latest_checkpoint(tmp_path)))
    restored = optimizer.state[convolution.weight][moment]
    assert torch.equal(restored, kept)
    assert restored.dtype == kept.dtype
    assert restored.stride() == convolution.weight.stride() != kept.stride()


def test_eight_bit_adam_needs_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(UsageError, match="bitsandbytes"):
        make_optimizer(list(network().parameters()), eight_bit())


def eight_bit():
    from dataclasses import replace

    return replace(CONFIG, optimizer="adamw8bit")


def test_eight_bit_moments_survive_a_checkpoint_in_their_own_types(monkeypatch, tmp_path):
    """A stand-in with bitsandbytes' state: quantised moments, their scales and an integer step."""

    class AdamW8bit(torch.optim.SGD):
        def __init__(self, parameters, **options):
            super().__init__(parameters, lr=options["lr"])

        def step(self):
            for group in self.param_groups:
                for parameter in group["params"]:
                    self.state[parameter] = {
                        "step": 2,
                        "state1": (parameter * 50).to(torch.int8).to(torch.uint8),
                        "absmax1": torch.tensor([3.0]),
                    }

    package = types.ModuleType("bitsandbytes.optim")
    package.AdamW8bit = AdamW8bit
    monkeypatch.setitem(sys.modules, "bitsandbytes", types.ModuleType("bitsandbytes"))
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", package)
    learned = network()
    optimizer = make_optimizer(list(learned.parameters()), eight_bit())
    optimizer.step()
    tensors = optimizer_tensors(optimizer, learned)
    save_checkpoint(tmp_path, Checkpoint(step=2, tensors=tensors))
    restored = make_optimizer(list(learned.parameters()), eight_bit())
    restore_optimizer(restored, learned, load_checkpoint(latest_checkpoint(tmp_path)))
    state = restored.state[learned.weight]
    assert state["step"] == 2
    assert state["state1"].dtype == torch.uint8
    assert torch.equal(state["state1"], optimizer.state[learned.weight]["state1"])
    assert state["absmax1"].tolist() == [3.0]
