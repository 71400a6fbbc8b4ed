import pytest

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
