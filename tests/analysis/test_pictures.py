import numpy as np
import pytest
import torch
from PIL import Image

from dgafvsr.analysis.domains import compare_domains
from dgafvsr.analysis.pictures import draw_domains, draw_warping, flow_picture
from dgafvsr.analysis.samples import moving_textures
from dgafvsr.flow.dis import DISFlow
from tests import factories
from tests.evaluation.pictures import smooth_clip


def drawn(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"))


def test_flow_is_white_where_nothing_moves_and_colored_by_direction():
    flow = torch.zeros(1, 2, 4, 6)
    flow[:, 0, :, 3], flow[:, 0, :, 5] = 2.0, -2.0
    colors = flow_picture(flow)
    assert colors.shape == (4, 6, 3)
    assert (colors[:, 0] == 1).all()
    assert np.abs(colors[0, 3] - colors[0, 5]).max() > 0.5


def test_warps_of_a_pair_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    (sample,) = moving_textures(1, seed=3)
    draw_warping(sample, "centered", tmp_path / "w.png")
    assert drawn(tmp_path / "w.png").std() > 20


def test_steps_of_a_pair_are_kept_and_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    clip = smooth_clip(3, 20, 24)
    result = compare_domains(factories.pipeline(), [clip], DISFlow(), steps=5)
    assert [example.step for example in result.examples] == [0, 2, 4]
    example = result.examples[0]
    assert example.latent.shape == example.aligned.shape == (1, 4, 20, 24)
    assert example.picture.shape == example.warped.shape == (1, 3, 80, 96)
    assert example.flow.shape == (1, 2, 80, 96)
    draw_domains(result.examples, tmp_path / "d.png")
    assert drawn(tmp_path / "d.png").std() > 10
