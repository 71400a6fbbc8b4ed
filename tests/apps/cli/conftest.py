import cv2
import pytest
import torch

import dgafvsr.pipeline
from tests.apps.cli import films


@pytest.fixture
def pipeline(monkeypatch):
    """What the command line loads instead of a model."""
    enlarging = films.EnlargingPipeline()
    monkeypatch.setattr(dgafvsr.pipeline, "DGAFVSRPipeline", enlarging)
    return enlarging


@pytest.fixture
def video(tmp_path):
    """A film of 5 frames, 22x18."""
    return films.write_video(tmp_path / "in.mp4")


@pytest.fixture
def _threads_as_before():
    """For tests that choose how many threads this process computes with."""
    of_torch, of_opencv = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(of_torch)
    cv2.setNumThreads(of_opencv)
