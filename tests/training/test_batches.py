from __future__ import annotations

import pytest
import torch
from toys import Numbers

from dgafvsr.errors import InputError
from dgafvsr.training.batches import load_batches


class Torn(Numbers):
    """Sample 5 cannot be read."""

    def __getitem__(self, index):
        if index == 5:
            raise InputError("5.png is no picture", got="3 bytes", expected="a picture", remedy="remove it")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_the_samples_in_order(workers):
    numbers = Numbers()
    found = list(load_batches(numbers, [[0, 1, 2], [7, 4]], workers=workers))
    expected = [torch.stack([numbers[index]["x"] for index in batch]) for batch in ([0, 1, 2], [7, 4])]
    for batch, samples in zip(found, expected, strict=True):
        assert batch.keys() == {"x"}
        assert torch.equal(batch["x"], samples)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_worker_is_raised_as_it_was(workers):
    batches = load_batches(Torn(), [[0, 1], [4, 5], [6, 7]], workers=workers)
    assert next(batches)["x"].shape == (2, 5)
    with pytest.raises(InputError) as refused:
        next(batches)
    error = refused.value
    assert type(error) is InputError
    assert str(error) == "5.png is no picture. Got: 3 bytes. Expected: a picture. Remedy: remove it."
    assert (error.got, error.expected, error.remedy, error.exit_code) == ("3 bytes", "a picture", "remove it", 3)
