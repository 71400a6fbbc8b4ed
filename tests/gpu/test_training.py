"""Training on a GPU: half precision with one fused Adam, saved, and gone on with."""

import dataclasses

import pytest
import torch

from dgafvsr.training.checkpoints import latest_checkpoint, load_checkpoint
from dgafvsr.training.optimizers import make_optimizer
from dgafvsr.training.trainer import TrainOptions, train
from tests.training.real_stages import guidance_stage, whole_batch
from tests.training.toys import CONFIG, ConvolutionStage

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize(
    ("make", "config"), [(ConvolutionStage, CONFIG), (guidance_stage, whole_batch())], ids=["toy", "guidance"]
)
def test_half_precision_goes_on_to_the_same_losses(device, make, config, precision, tmp_path):
    if device.type != ("cuda" if torch.cuda.is_available() else "cpu"):
        pytest.skip("training chooses its device by itself")
    config = dataclasses.replace(config, precision=precision)

    def losses(folder, stage, **options):
        reports = []
        train(stage, config, folder=folder, name="a", options=TrainOptions(listener=reports.append, **options))
        return [report.losses["loss"] for report in reports]

    expected = losses(tmp_path / "whole", make())
    asked = []
    first = losses(tmp_path / "parts", make(), stop=lambda: asked.append(0) or len(asked) == 2)
    saved = load_checkpoint(latest_checkpoint(tmp_path / "parts"))
    resumed = make()
    rest = losses(tmp_path / "parts", resumed)
    assert (saved.step, len(first), len(rest)) == (2, 2, config.steps - 2)
    # a GPU may sum gradients in another order each time: weights that differ by float32's rounding, rounded to 8 bits
    assert first + rest == pytest.approx(expected, rel=1e-3)
    assert len(set(expected)) == config.steps
    assert {(each.device.type, each.dtype) for each in resumed.parameters()} == {(device.type, torch.float32)}
    assert make_optimizer(resumed.learned(), config).defaults["fused"]
    assert ("scale" in saved.notes) == (precision == "fp16")
    assert int(load_checkpoint(latest_checkpoint(tmp_path / "parts")).notes["updates"]) > 0
