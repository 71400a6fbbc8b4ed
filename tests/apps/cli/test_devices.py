import cv2
import pytest
import torch

from dgafvsr.apps.cli import devices
from dgafvsr.apps.cli.devices import (
    Device,
    available_devices,
    check_flow,
    choose_device,
    choose_dtype,
    choose_offload,
    use_threads,
)
from dgafvsr.errors import UsageError

CPU = Device(name="cpu", model="processor", memory_bytes=None)
MPS = Device(name="mps", model="Apple GPU", memory_bytes=None)
CUDA = [Device(name=f"cuda:{index}", model="a GPU", memory_bytes=8) for index in range(2)]


@pytest.fixture
def machine(monkeypatch):
    def pretend(*found):
        monkeypatch.setattr(devices, "available_devices", lambda: found)

    return pretend


def test_this_machine_has_a_processor():
    last = available_devices()[-1]
    assert last.name == "cpu"
    assert last.memory_bytes is None or last.memory_bytes > 2**28


def test_auto_prefers_cuda_then_mps_then_cpu(machine):
    for found, expected in (((*CUDA, CPU), "cuda:0"), ((MPS, CPU), "mps"), ((CPU,), "cpu")):
        machine(*found)
        assert choose_device("auto") == torch.device(expected)


def test_device_by_name_and_index(machine):
    machine(*CUDA, CPU)
    assert choose_device("cuda") == torch.device("cuda:0")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda", "cuda:2", "mps", "tpu", ""])
def test_missing_device_names_those_that_are_there(machine, name):
    machine(*(CUDA[:1] if name == "cuda:2" else []), CPU)
    with pytest.raises(UsageError, match="cpu"):
        choose_device(name)


@pytest.mark.parametrize(("supported", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_dtype_on_cuda_is_what_it_computes_in(monkeypatch, supported, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert choose_dtype("auto", torch.device("cuda:0")) == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fma avx512f avx512_bf16", torch.bfloat16),
        ("amx_bf16 amx_tile", torch.bfloat16),
        ("fma avx2", torch.float32),
        ("", torch.float32),
    ],
)
def test_auto_dtype_on_the_processor_is_what_it_computes_in(monkeypatch, flags, expected):
    monkeypatch.setattr(devices, "_processor_facts", lambda: {"flags": flags})
    assert choose_dtype("auto", torch.device("cpu")) == expected
    assert choose_dtype("auto", torch.device("mps")) == torch.float32


def test_unknown_dtype_lists_the_known():
    with pytest.raises(UsageError, match="bfloat16, float16, float32"):
        choose_dtype("float8", torch.device("cpu"))


def test_flow_is_checked_by_name():
    check_flow(None)
    check_flow("dis")
    with pytest.raises(UsageError, match="raft_large"):
        check_flow("farneback")


def test_without_a_compiler_one_line_is_said(monkeypatch, capsys):
    monkeypatch.setattr(devices, "compiler_fault", lambda kind: f"no compiler for {kind}")
    assert not devices.compiled_where_possible(torch.device("cpu")).compiled
    assert capsys.readouterr().err == (
        "note: nothing can be compiled for cpu here (no compiler for cpu); going on without\n"
    )
    monkeypatch.setattr(devices, "compiler_fault", lambda kind: None)
    assert devices.compiled_where_possible(torch.device("cpu")).compiled


CUDA_DEVICE = torch.device("cuda:0")


@pytest.mark.parametrize("name", ["none", "model", "sequential"])
def test_weights_wait_on_the_cpu_where_a_gpu_has_its_own_memory(name, capsys):
    assert choose_offload(name, CUDA_DEVICE) == name
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_where_offload_saves_nothing_one_line_is_said(kind, capsys):
    assert choose_offload("model", torch.device(kind)) == "none"
    assert capsys.readouterr().err == f"note: nothing is offloaded from {kind}, which has no memory of its own\n"


def test_offload_that_cannot_be_is_refused(monkeypatch):
    with pytest.raises(UsageError, match="none, model, sequential"):
        choose_offload("disk", CUDA_DEVICE)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"dgafvsr\[offload\]"):
        choose_offload("model", CUDA_DEVICE)


def test_offloaded_networks_are_not_compiled(monkeypatch, capsys):
    monkeypatch.setattr(devices, "compiler_fault", lambda kind: None)
    assert not devices.compiled_where_possible(CUDA_DEVICE, "model").compiled
    assert "(the weights are offloaded); going on without" in capsys.readouterr().err


@pytest.mark.usefixtures("_threads_as_before")
def test_networks_and_flow_use_as_many_threads_as_they_may():
    before = torch.get_num_threads(), cv2.getNumThreads()
    use_threads(None)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before
    for count in (3, 1):
        use_threads(count)
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (count, count)


@pytest.mark.parametrize("count", [0, -1, 10**9])
def test_impossible_numbers_of_threads_are_refused(count):
    before = torch.get_num_threads()
    with pytest.raises(UsageError, match=f"number of threads.*{count}.*1 to 1024"):
        use_threads(count)
    assert torch.get_num_threads() == before
