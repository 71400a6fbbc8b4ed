"""The loss on finished pictures, with a critic that trains, stops and resumes beside the network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from dgafvsr.errors import ModelError
from dgafvsr.training import picture_loss
from dgafvsr.training.adversarial import Critic
from dgafvsr.training.checkpoints import latest_checkpoint, load_checkpoint
from dgafvsr.training.draws import Draws
from dgafvsr.training.picture_loss import PictureLoss, SamplerLoss
from dgafvsr.training.stage import Stage
from dgafvsr.training.trainer import TrainerConfig, TrainOptions, train


class _SmallPerception(nn.Module):
    """In the place of LPIPS-VGG: three fixed random maps with VGG's first widths."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.maps = nn.ModuleList(nn.Conv2d(3, width, 3, padding=1) for width in (64, 128, 256))
        self.requires_grad_(False)

    def features(self, picture: Tensor) -> tuple[Tensor, ...]:
        return tuple(convolution(picture) for convolution in self.maps)

    def distance(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        return torch.stack([F.mse_loss(one, other) for one, other in zip(first, second, strict=True)]).sum()


@pytest.fixture(autouse=True)
def _no_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_loss, "PerceptualLoss", _SmallPerception)


class _Pictures(Dataset[dict[str, Tensor]]):
    def __getitem__(self, index: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(index)
        return {"hr": torch.rand(3, 32, 32, generator=generator) * 2 - 1}


class _Painter(Stage):
    """Paints a picture over: enough to train by a `PictureLoss`."""

    def __init__(self, weights: SamplerLoss) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.trained = nn.Conv2d(3, 3, 3, padding=1)
            self.loss = PictureLoss(weights)
        self.data = _Pictures()

    @property
    def critic(self) -> nn.Module | None:
        return self.loss.critic

    def forward(self, batch: dict[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = self.loss(self.trained(batch["hr"]), batch["hr"], draws)
        return losses


WEIGHTS = SamplerLoss(perceptual_side=16, adversarial_weight=0.1)
CONFIG = TrainerConfig(steps=4, batch_size=2, learning_rate=1e-2, checkpoint_every=2, log_every=1, precision="no")


def test_terms_count_with_their_weights() -> None:
    counted = {"grid": 3.0, "lattice": 0.6, "period": 0.7, "perceptual": 2.0, "statistics": 0.4, "adversarial": 0.5}
    weights = SamplerLoss(perceptual_side=16, **{f"{name}_weight": value for name, value in counted.items()})
    loss = PictureLoss(weights).eval()
    output, target = torch.rand(2, 3, 40, 40) * 2 - 1, torch.rand(2, 3, 40, 40) * 2 - 1
    found = loss(output, target, Draws(0, [0, 1]))
    told = {"perceptual": "lpips", "adversarial": "texture"}
    expected = found["l1"] + 0.05 * found["critic"]
    for name, weight in counted.items():
        term = found[told.get(name, name)]
        assert term != 0
        expected = expected + weight * term
    torch.testing.assert_close(found["loss"], expected)


def test_no_critic_and_no_vgg_where_they_do_not_count() -> None:
    loss = PictureLoss(SamplerLoss(perceptual_weight=0.0, grid_weight=0.0))
    assert loss.critic is None
    assert loss.perceptual is None
    picture = torch.rand(1, 3, 32, 32)
    assert set(loss(picture, picture, Draws(0, [0]))) == {"l1", "grid", "loss"}


def test_the_critic_learns_and_is_not_part_of_the_average(tmp_path: Path) -> None:
    stage = _Painter(WEIGHTS)
    assert isinstance(stage.critic, Critic)
    before = [parameter.detach().clone() for parameter in stage.critic.parameters()]
    train(stage, CONFIG, folder=tmp_path, name="painter")
    after = list(stage.critic.parameters())
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    path = latest_checkpoint(tmp_path)
    assert path is not None
    checkpoint = load_checkpoint(path)
    assert set(checkpoint.group("average")) == {"weight", "bias"}
    assert set(checkpoint.group("critic")) == set(stage.critic.state_dict())


def test_a_run_with_a_critic_continues_exactly(tmp_path: Path) -> None:
    whole, halves = _Painter(WEIGHTS), _Painter(WEIGHTS)
    train(whole, CONFIG, folder=tmp_path / "whole", name="painter")
    train(halves, CONFIG, folder=tmp_path / "halves", name="painter", options=TrainOptions(max_minutes=0.0))
    assert latest_checkpoint(tmp_path / "halves") is not None
    resumed = _Painter(WEIGHTS)
    assert train(resumed, CONFIG, folder=tmp_path / "halves", name="painter").finished
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_without_the_critic_is_refused(tmp_path: Path) -> None:
    train(_Painter(SamplerLoss(perceptual_side=16)), CONFIG, folder=tmp_path, name="painter")
    with pytest.raises(ModelError, match="another network"):
        train(_Painter(WEIGHTS), CONFIG, folder=tmp_path, name="painter")
