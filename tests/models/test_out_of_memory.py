import pytest
import torch

from dgafvsr.models.out_of_memory import is_out_of_memory


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "GET was unable to find an engine to execute this computation",
        "MPS backend out of memory (MPS allocated: 17.9 GB)",
    ],
)
def test_libraries_that_allocate_besides_torch_are_understood(words):
    assert is_out_of_memory(RuntimeError(words))


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")]
)
def test_types_say_so_whatever_the_words(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("size mismatch"), ValueError("not enough memory in the user's head")])
def test_other_errors_mean_something_else(error):
    assert not is_out_of_memory(error)
