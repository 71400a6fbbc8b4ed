from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from dgafvsr.errors import ModelError, ResourceError, UsageError
from dgafvsr.training.checkpoints import load_checkpoint
from dgafvsr.training.trainer import Stage, TrainerConfig, learning_rate_at, train

CONFIG = TrainerConfig(
    steps=6, batch_size=3, learning_rate=1e-2, warmup_steps=2, precision="no", checkpoint_every=2, log_every=1
)


class Numbers(Dataset[dict[str, torch.Tensor]]):
    """Sample `index` is a function of the index alone; `seen` records the order."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        self.seen.append(index)
        return {"x": torch.randn(5, generator=torch.Generator().manual_seed(index))}


class ToyStage(Stage):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.trained = nn.Linear(5, 5)
        self.data = Numbers()
        self.scale = scale

    def forward(self, batch, generator):
        noise = torch.randn(batch["x"].shape, generator=generator)
        return {"loss": F.mse_loss(self.trained(batch["x"] + 0.1 * noise), batch["x"]) * self.scale}


def reports_of(folder, stage: Stage, config: TrainerConfig = CONFIG, **options):
    reports = []
    result = train(stage, config, folder=folder, name="toy", listener=reports.append, **options)
    return reports, result


def test_a_stopped_run_continues_exactly(tmp_path):
    whole, whole_stage = tmp_path / "whole", ToyStage()
    parts, resumed_stage = tmp_path / "parts", ToyStage()
    expected, _ = reports_of(whole, whole_stage)
    first, stopped = reports_of(parts, ToyStage(), max_minutes=0.0)
    assert (stopped.step, stopped.finished) == (1, False)
    rest, finished = reports_of(parts, resumed_stage)
    assert (finished.step, finished.finished) == (6, True)
    assert [report.losses for report in first + rest] == [report.losses for report in expected]
    assert resumed_stage.data.seen == whole_stage.data.seen[3:]
    for name, value in whole_stage.trained.state_dict().items():
        assert torch.equal(value, resumed_stage.trained.state_dict()[name])


def test_a_finished_run_is_not_trained_again(tmp_path):
    reports_of(tmp_path, ToyStage())
    stage = ToyStage()
    reports, result = reports_of(tmp_path, stage)
    assert not reports
    assert not stage.data.seen
    assert result.finished


def test_one_batch_is_learned(tmp_path):
    class OneBatch(Numbers):
        def __getitem__(self, index):
            return super().__getitem__(index % 3)

    stage = ToyStage()
    stage.data = OneBatch()
    reports, _ = reports_of(tmp_path, stage, replace(CONFIG, steps=60, learning_rate=5e-2))
    assert reports[-1].losses["loss"] < 0.2 * reports[0].losses["loss"]


def test_the_average_of_the_weights_is_what_is_left(tmp_path):
    stage = ToyStage()
    train(stage, CONFIG, folder=tmp_path, name="toy")
    checkpoint = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert checkpoint.step == 6
    assert torch.equal(stage.trained.weight, checkpoint.group("average")["weight"])
    assert not torch.equal(stage.trained.weight, checkpoint.group("trained")["weight"])
    assert set(checkpoint.group("exp_avg")) == {"weight", "bias"}


def test_losses_are_logged_as_json_lines(tmp_path):
    reports, _ = reports_of(tmp_path, ToyStage(), replace(CONFIG, log_every=3))
    lines = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6] == [report.step for report in reports]
    assert lines[0]["losses"] == reports[0].losses


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(tmp_path):
    reports_of(tmp_path, ToyStage(), max_minutes=0.0)
    with pytest.raises(ResourceError, match="not finite at step 1"):
        reports_of(tmp_path, ToyStage(scale=float("inf")))
    assert load_checkpoint(tmp_path / "checkpoint.safetensors").step == 1


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(ModelError, match=r"checkpoint\.safetensors"):
        train(ToyStage(), CONFIG, folder=tmp_path, name="toy")


def test_bf16_trains_float32_weights(tmp_path):
    stage = ToyStage()
    reports, _ = reports_of(tmp_path, stage, replace(CONFIG, precision="bf16"))
    assert stage.trained.weight.dtype == torch.float32
    exact, _ = reports_of(tmp_path / "exact", ToyStage())
    assert reports[0].losses["loss"] == pytest.approx(exact[0].losses["loss"], rel=2e-2)


def test_learning_rate_rises_then_falls_to_its_share():
    config = replace(CONFIG, steps=100, warmup_steps=10, final_rate=0.1)
    rates = [learning_rate_at(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(1e-3)
    assert max(rates) == pytest.approx(1e-2)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(1e-3, rel=0.01)
    constant = replace(config, warmup_steps=0, final_rate=1.0)
    assert {learning_rate_at(step, constant) for step in (0, 50, 99)} == {1e-2}


@pytest.mark.parametrize(
    ("field", "value"), [("steps", 0), ("batch_size", 0), ("learning_rate", 0.0), ("average_decay", 1.0)]
)
def test_impossible_settings_are_refused(field, value):
    with pytest.raises(UsageError, match=field):
        replace(CONFIG, **{field: value})
