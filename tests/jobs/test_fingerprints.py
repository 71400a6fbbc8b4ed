from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import cpu_offload

from dgafvsr.errors import InputError
from dgafvsr.jobs.fingerprints import fingerprint_input, fingerprint_model, fingerprint_program
from dgafvsr.models.execution import Execution
from tests import factories


def model(**settings):
    return fingerprint_model(factories.pipeline(**settings))


def test_same_weights_and_settings_are_the_same_model():
    assert model() == model()


@pytest.mark.parametrize("settings", [{"flow": "dis_fast"}, {"warp": "centered"}, {"guidance": None}])
def test_settings_and_parts_tell_models_apart(settings):
    assert model(**settings) != model()


def test_one_weight_tells_models_apart():
    unet = factories.denoiser()
    with torch.no_grad():
        unet.conv_in.weight[0, 0, 0, 0] += 1e-6
    assert model(unet=unet) != model()


def test_type_of_the_weights_tells_models_apart():
    assert fingerprint_model(factories.pipeline().to(torch.bfloat16)) != model()


def test_scheduler_tells_models_apart():
    scheduler = factories.scheduler()
    scheduler.register_to_config(timestep_spacing="leading")
    assert model(scheduler=scheduler) != model()


def test_how_a_model_is_run_tells_jobs_apart():
    pipe = factories.pipeline()
    before = fingerprint_model(pipe)
    pipe.execution = Execution(compiled=True)
    assert fingerprint_model(pipe) != before


def test_where_a_model_came_from_does_not_matter():
    ours = SimpleNamespace(config={"name": "a", "_name_or_path": "here"}, components={})
    theirs = SimpleNamespace(config={"name": "a", "_name_or_path": "there"}, components={})
    assert fingerprint_model(ours) == fingerprint_model(theirs)


@pytest.mark.parametrize("place", [0, 1_500_000, -1])
def test_pieces_all_over_a_long_file_are_looked_at(tmp_path, place):
    content = np.random.default_rng(0).integers(0, 256, 3_000_000, dtype=np.uint8)
    (tmp_path / "a").write_bytes(content.tobytes())
    before = fingerprint_input(tmp_path / "a")
    content[place] ^= 1
    (tmp_path / "a").write_bytes(content.tobytes())
    assert fingerprint_input(tmp_path / "a")["sha256"] != before["sha256"]


def test_missing_input_is_named(tmp_path):
    with pytest.raises(InputError, match="gone"):
        fingerprint_input(tmp_path / "gone")


def test_where_weights_wait_does_not_matter():
    pipe = factories.pipeline()
    for network in (pipe.unet, pipe.guidance, pipe.vae):
        cpu_offload(network, torch.device("cpu"))
    assert fingerprint_model(pipe) == model()


def test_hidden_files_and_dangling_links_are_no_part_of_a_folder(tmp_path):
    (tmp_path / "0.png").write_bytes(b"picture")
    before = fingerprint_input(tmp_path)
    (tmp_path / "._0.png").write_bytes(b"what a Mac leaves on other disks")
    (tmp_path / "1.png").symlink_to(tmp_path / "gone.png")
    assert fingerprint_input(tmp_path) == before


def test_program_is_told_by_what_frames_may_depend_on():
    assert set(fingerprint_program()) == {"version", "torch", "PyAV", "OpenCV", "scenedetect"}
    assert all(fingerprint_program().values())
