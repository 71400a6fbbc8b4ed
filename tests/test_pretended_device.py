"""The pretended accelerator complains where a real one would, and only there."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
import torch
from torch import nn

from tests.pretended_device import DeviceError, PretendedDevice

CUDA = torch.device("cuda:1")


@pytest.fixture(autouse=True)
def _pretended():
    with PretendedDevice("cuda:1"):
        yield


@pytest.mark.parametrize(
    "mixed",
    [
        lambda here, there: here + there,
        lambda here, there: there.mul_(here),
        lambda here, there: torch.cat([here, there]),
        lambda here, there: there @ here.T,
        lambda here, there: torch.stack([here[0, 0], there[0, 0]]),
        lambda here, there: here[0, 0].add_(there[0, 0]),
        lambda here, there: here[there[:, 0].long()],
        lambda here, there: nn.functional.conv2d(there[None, None], here[None, None]),
    ],
)
def test_a_planted_mismatch_is_found(mixed):
    here = torch.zeros(3, 3)
    with pytest.raises(DeviceError, match="cpu and cuda:1"):
        mixed(here, here.to(CUDA))


def test_a_device_without_its_number_is_another_one():
    with pytest.raises(DeviceError, match="cuda:0 and cuda:1"):
        torch.ones(2, device="cuda") + torch.ones(2, device=CUDA)


def test_numbers_indices_and_copies_may_cross():
    there, number = torch.ones(3, 4, device=CUDA), torch.tensor(2.0)
    for result in (there * number, number - there, there[torch.tensor([0, 2])], torch.where(there > 0, there, number)):
        assert result.device == CUDA
    there[torch.tensor([1])] = torch.zeros(1, 4, device=CUDA)
    here = torch.zeros(3, 4)
    here.copy_(there)
    here[1:] = there[:2]
    assert here.device.type == "cpu"
    assert here[0, 0] == 1


def test_views_new_tensors_and_parameters_keep_the_place():
    there = torch.arange(6.0).to("cuda:1").view(2, 3).T
    made = (there, there.new_tensor([1]), torch.zeros_like(there), there.double(), copy.deepcopy(there))
    assert {each.device for each in made} == {CUDA}
    assert (there.is_cuda, there.is_cpu, there.get_device()) == (True, False, 1)
    network = nn.Linear(3, 2)
    with pytest.raises(DeviceError):
        network(there.T.new_zeros(1, 3))
    assert network.to(CUDA).weight.device == CUDA
    assert network(there.T.new_zeros(1, 3)).cpu().device.type == "cpu"
    assert torch.zeros(2).device.type == "cpu"


def test_only_tensors_on_the_cpu_become_arrays():
    there = torch.ones(2, device=CUDA)
    for asked in (there.numpy, lambda: np.asarray(there), there.detach().numpy):
        with pytest.raises(DeviceError, match="numpy"):
            asked()
    assert there.cpu().numpy().sum() == float(there.sum()) == 2


def test_gradients_come_back_to_where_their_tensors_are():
    here = torch.ones(2, 3, requires_grad=True)
    network = nn.Linear(3, 2).to(CUDA)
    network(here.to(CUDA)).square().sum().backward()
    assert (here.grad.device.type, network.weight.grad.device) == ("cpu", CUDA)
    with pytest.raises(DeviceError):
        here.grad.add_(network.weight.grad[0])


def test_draws_need_a_generator_of_their_device():
    with pytest.raises(DeviceError, match="generator"):
        torch.randn(2, generator=torch.Generator(), device=CUDA)


def test_other_threads_are_inside_too():
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.ones(2, device=CUDA).device))
    thread.start()
    thread.join()
    assert found == [CUDA]


def test_a_stream_that_reads_what_another_one_writes_is_found():
    there, stream = torch.ones(2).to(CUDA), torch.cuda.Stream(CUDA)
    with torch.cuda.stream(stream):
        there + 1  # came from the CPU: that was waited for
    written = there * 2
    with torch.cuda.stream(stream), pytest.raises(DeviceError, match="stream"):
        written + 1
    written.sum().item()
    with torch.cuda.stream(stream):
        written + 1


def test_metal_has_no_doubles():
    with PretendedDevice("mps") as metal:
        there = torch.ones(2, device=metal)
        for asked in (there.double, lambda: there.sum(dtype=torch.float64), lambda: torch.ones(2).double().to(metal)):
            with pytest.raises(DeviceError, match="float64"):
                asked()
