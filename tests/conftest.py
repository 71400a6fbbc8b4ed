from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def parity():
    """Outputs of the authors' code on tiny random models; its README.md says what each tensor is."""
    return Path(__file__).parent / "data" / "parity"
