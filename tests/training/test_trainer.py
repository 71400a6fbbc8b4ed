from __future__ import annotations

import errno
import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from toys import CONFIG, ConvolutionStage, Numbers, ToyStage

from dgafvsr.errors import ModelError, ResourceError, UsageError
from dgafvsr.training import checkpoints
from dgafvsr.training.checkpoints import checkpoint_file, latest_checkpoint, load_checkpoint
from dgafvsr.training.draws import Draws
from dgafvsr.training.reports import Meter
from dgafvsr.training.stage import Stage
from dgafvsr.training.trainer import TrainOptions, train


def numbers(levels):
    """Levels without samples as -1."""
    return [-1 if level is None else level for level in levels]


def reports_of(folder, stage: Stage, config=CONFIG, **options):
    reports = []
    options = TrainOptions(listener=reports.append, **options)
    result = train(stage, config, folder=folder, name="toy", options=options)
    return reports, result


@pytest.mark.parametrize(
    "changes", [{}, {"micro_batch": 2, "workers": 1}, {"precision": "fp16"}], ids=["plain", "accumulation", "fp16"]
)
def test_a_stopped_run_continues_exactly(tmp_path, changes):
    config = replace(CONFIG, **changes)
    whole, whole_stage = tmp_path / "whole", ToyStage()
    parts, resumed_stage = tmp_path / "parts", ToyStage()
    expected, _ = reports_of(whole, whole_stage, config)
    first, stopped = reports_of(parts, ToyStage(), config, max_minutes=0.0)
    assert (stopped.step, stopped.finished) == (1, False)
    rest, finished = reports_of(parts, resumed_stage, config)
    assert (finished.step, finished.finished) == (6, True)
    assert [report.losses for report in first + rest] == [report.losses for report in expected]
    if not config.workers:  # which keep what they see to themselves
        assert resumed_stage.data.seen == whole_stage.data.seen[4:]
    for name, value in whole_stage.trained.state_dict().items():
        assert torch.equal(value, resumed_stage.trained.state_dict()[name])


def test_weights_in_any_order_of_memory_continue_exactly(tmp_path):
    whole, resumed = ConvolutionStage(), ConvolutionStage()
    assert not whole.trained.weight.is_contiguous()  # in the plain order
    reports_of(tmp_path / "whole", whole)
    reports_of(tmp_path / "parts", ConvolutionStage(), max_minutes=0.0)
    reports_of(tmp_path / "parts", resumed)
    assert torch.equal(whole.trained.weight, resumed.trained.weight)


def test_accumulated_micro_batches_are_the_batch(tmp_path):
    whole, parts = ToyStage(), ToyStage()
    expected, _ = reports_of(tmp_path / "whole", whole)
    found, _ = reports_of(tmp_path / "parts", parts, replace(CONFIG, micro_batch=1))
    for one, other in zip(expected, found, strict=True):
        assert one.losses["loss"] == pytest.approx(other.losses["loss"], rel=1e-5)
        assert numbers(one.noise_levels) == pytest.approx(numbers(other.noise_levels), rel=1e-5)
    # the same sums in another order
    torch.testing.assert_close(whole.trained.weight, parts.trained.weight, atol=1e-6, rtol=1e-5)


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
            return super().__getitem__(index % 4)

    stage = ToyStage()
    stage.data = OneBatch()
    reports, _ = reports_of(tmp_path, stage, replace(CONFIG, steps=60, learning_rate=5e-2))
    assert reports[-1].losses["loss"] < 0.2 * reports[0].losses["loss"]


def test_the_average_of_the_weights_is_what_is_left(tmp_path):
    stage = ToyStage()
    train(stage, CONFIG, folder=tmp_path, name="toy")
    checkpoint = load_checkpoint(latest_checkpoint(tmp_path))
    assert checkpoint.step == 6
    assert torch.equal(stage.trained.weight, checkpoint.group("average")["weight"])
    assert not torch.equal(stage.trained.weight, checkpoint.group("trained")["weight"])
    assert set(checkpoint.group("exp_avg")) == {"weight", "bias"}


@pytest.mark.parametrize(("keep", "steps"), [(1, [6]), (2, [4, 6]), (9, [2, 4, 6])])
def test_the_last_checkpoints_are_kept(tmp_path, keep, steps):
    reports_of(tmp_path, ToyStage(), keep=keep)
    assert sorted(tmp_path.glob("checkpoint*")) == [checkpoint_file(tmp_path, step) for step in steps]


def test_a_polite_kill_saves_and_returns(tmp_path):
    class Killed(Numbers):
        def __getitem__(self, index):
            if index == 9:  # of the third step
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__getitem__(index)

    before = signal.getsignal(signal.SIGTERM)
    stage = ToyStage()
    stage.data = Killed()
    _, result = reports_of(tmp_path, stage)
    assert not result.finished
    assert load_checkpoint(latest_checkpoint(tmp_path)).step == result.step == 3
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_kill_of_the_whole_job_leaves_its_workers_at_work(tmp_path):
    class Killed(Numbers):
        def __getitem__(self, index):
            if index == 9:  # of the third step, in the worker
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getppid(), signal.SIGTERM)
            return super().__getitem__(index)

    stage = ToyStage()
    stage.data = Killed()
    _, result = reports_of(tmp_path, stage, replace(CONFIG, workers=1))
    assert not result.finished
    assert load_checkpoint(latest_checkpoint(tmp_path)).step == result.step >= 1


def test_losses_are_logged_as_json_lines(tmp_path):
    reports, _ = reports_of(tmp_path, ToyStage(), replace(CONFIG, log_every=3))
    lines = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6] == [report.step for report in reports]
    assert lines[0]["losses"] == reports[0].losses
    assert reports[0].samples_per_second == pytest.approx(4 / reports[0].seconds_per_step)


def test_validation_and_saving_are_no_time_of_the_steps(monkeypatch):
    clock = iter([0.0, 4.0, 5.0, 105.0, 105.0])
    monkeypatch.setattr("dgafvsr.training.reports.time.monotonic", lambda: next(clock))
    meter = Meter("toy", replace(CONFIG, log_every=2))  # at 0 s
    assert meter.add(1, {"loss": 1.0}, 1.0) is None
    with meter.pause():  # from 4 to 5 s
        pass
    report = meter.add(2, {"loss": 3.0}, 1.0)  # at 105 s
    assert report is not None
    assert report.seconds_per_step == 52.0
    assert report.samples_per_second == pytest.approx(4 / 52)


def test_losses_are_told_by_noise_level(tmp_path):
    reports, _ = reports_of(tmp_path, ToyStage(), replace(CONFIG, steps=1))
    stage = ToyStage()
    samples = [Numbers()[index]["x"] for index in range(4)]
    levels = [[] for _ in range(5)]
    for index, x in enumerate(samples):
        draws = Draws(0, [index])
        error = (stage.trained(x + 0.1 * draws.normal(5)[0]) - x).square().mean()
        levels[int(draws.integers(1000)) // 200].append(float(error.detach()))
    expected = tuple(sum(level) / len(level) if level else None for level in levels)
    assert numbers(reports[0].noise_levels) == pytest.approx(numbers(expected), rel=1e-5)


def test_tensorboard_has_every_number(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    reports, _ = reports_of(tmp_path, ToyStage())
    found = events.EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert {"loss/loss", "training/learning rate", "training/samples per second"} <= set(found.Tags()["scalars"])
    assert any(tag.startswith("noise level/") for tag in found.Tags()["scalars"])
    values = [event.value for event in found.Scalars("loss/loss")]
    assert values == pytest.approx([report.losses["loss"] for report in reports], rel=1e-6)


@pytest.mark.parametrize("scale", [float("inf"), float("nan")])
def test_a_loss_that_is_no_number_stops_with_its_batch_saved(tmp_path, scale):
    reports_of(tmp_path, ToyStage(), max_minutes=0.0)
    stage = ToyStage(scale=scale)
    with pytest.raises(ResourceError, match=r"not finite at step 1.*failure-000001\.safetensors"):
        reports_of(tmp_path, stage)
    checkpoint = load_checkpoint(latest_checkpoint(tmp_path))
    assert checkpoint.step == 1
    assert torch.equal(stage.trained.weight, checkpoint.group("trained")["weight"])
    saved = load_file(tmp_path / "failure-000001.safetensors")
    assert saved["samples"].tolist() == [4, 5, 6, 7]
    assert torch.equal(saved["batch.x"], torch.stack([Numbers()[index]["x"] for index in range(4, 8)]))
    generator = torch.Generator()
    generator.set_state(saved["generators"][2].clone())
    assert torch.equal(torch.randn(3, generator=generator), Draws(0, [6]).normal(3)[0])


def test_the_weights_before_a_loss_that_is_no_number_are_kept(tmp_path):
    class Failing(ToyStage):
        def forward(self, batch, draws):
            if torch.equal(batch["x"][0], Numbers()[8]["x"]):  # of the third step
                self.scale = float("nan")
            return super().forward(batch, draws)

    stage = Failing()
    with pytest.raises(ResourceError, match="not finite at step 2"):
        reports_of(tmp_path, stage, replace(CONFIG, checkpoint_every=100))
    checkpoint = load_checkpoint(latest_checkpoint(tmp_path))
    assert checkpoint.step == 2
    assert torch.equal(stage.trained.weight, checkpoint.group("trained")["weight"])


def test_gradients_that_are_no_numbers_stop_too(tmp_path):
    class Steep(ToyStage):
        def forward(self, batch, draws):
            zero = self.trained(batch["x"]).sum() * 0
            return {"loss": (zero + 0).abs().sqrt()}  # sqrt has no slope at 0: 0 times infinity

    with pytest.raises(ResourceError, match="not finite at step 0"):
        reports_of(tmp_path, Steep())


@pytest.mark.parametrize("what", ["disk_usage", "save_file", "safetensors"])
def test_a_full_disk_is_told_and_the_old_checkpoint_survives(tmp_path, monkeypatch, what):
    reports_of(tmp_path, ToyStage(), max_minutes=0.0)
    if what == "disk_usage":
        monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 100}))
    else:

        def full(tensors, path, metadata):
            path.write_bytes(b"half")
            if what == "safetensors":
                raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(ResourceError, match=r"disk is full.*checkpoint-000001\.safetensors is intact"):
        reports_of(tmp_path, ToyStage())
    assert [path.name for path in tmp_path.glob("checkpoint*")] == ["checkpoint-000001.safetensors"]
    assert load_checkpoint(latest_checkpoint(tmp_path)).step == 1


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "checkpoint-000004.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(ModelError, match=r"checkpoint-000004\.safetensors"):
        train(ToyStage(), CONFIG, folder=tmp_path, name="toy")


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    train(ToyStage(), CONFIG, folder=tmp_path, name="toy")
    other = ToyStage()
    other.trained = nn.Linear(5, 6)
    with pytest.raises(ModelError, match=r"of another network.*bias: \(5,\)"):
        train(other, CONFIG, folder=tmp_path, name="toy")


def test_the_only_checkpoint_of_older_runs_is_read(tmp_path):
    reports_of(tmp_path, ToyStage(), max_minutes=0.0)
    latest_checkpoint(tmp_path).rename(tmp_path / "checkpoint.safetensors")
    reports, _ = reports_of(tmp_path, ToyStage())
    assert [report.step for report in reports] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_float32_weights(tmp_path, precision):
    stage = ToyStage()
    reports, _ = reports_of(tmp_path, stage, replace(CONFIG, precision=precision))
    assert stage.trained.weight.dtype == torch.float32
    exact, _ = reports_of(tmp_path / "exact", ToyStage())
    assert reports[0].losses["loss"] == pytest.approx(exact[0].losses["loss"], rel=2e-2)


def test_scaled_gradients_that_overflow_only_skip_their_step(tmp_path):
    class Once(ToyStage):
        def forward(self, batch, draws):
            losses = super().forward(batch, draws)
            # the first scale is 2^16: this loss is finite, its scaled gradient is not
            losses["loss"] = losses["loss"] * (1e35 if self.data.seen[-1] < 4 else 1.0)
            return losses

    stage, start = Once(), ToyStage()
    reports, result = reports_of(tmp_path, stage, replace(CONFIG, precision="fp16"))
    assert result.finished
    assert load_checkpoint(latest_checkpoint(tmp_path)).notes["updates"] == "5"
    assert not torch.equal(stage.trained.weight, start.trained.weight)
    assert len(reports) == 6


@pytest.mark.parametrize("slope", [float("inf"), float("nan")])
def test_scaled_gradients_that_overflow_at_every_scale_stop_with_the_batch_saved(tmp_path, slope):
    class Steep(ToyStage):
        def forward(self, batch, draws):
            losses = super().forward(batch, draws)
            losses["loss"].register_hook(lambda gradient: gradient * slope)  # the loss itself is a number
            return losses

    stage, config = Steep(), replace(CONFIG, steps=100, precision="fp16")
    # from 2^16 to 2^-10, one halving a step
    with pytest.raises(ResourceError, match=r"gradients of toy are not finite at step 26.*scale 0\.00097.*bf16"):
        reports_of(tmp_path, stage, config)
    assert load_file(tmp_path / "failure-000026.safetensors")["samples"].tolist() == [104, 105, 106, 107]
    checkpoint = load_checkpoint(latest_checkpoint(tmp_path))
    assert (checkpoint.step, checkpoint.notes["updates"]) == (26, "0")
    assert torch.equal(stage.trained.weight, ToyStage().trained.weight)
    with pytest.raises(ResourceError, match="not finite at step 26"):  # the scale is part of what is gone on with
        reports_of(tmp_path, Steep(), config)


def test_frozen_networks_stay_in_eval_mode():
    stage = ToyStage()
    stage.frozen = nn.Dropout()
    stage.train()
    assert (stage.trained.training, stage.frozen.training, stage.training) == (True, False, False)


def test_gradient_checkpointing_needs_a_network_that_can(tmp_path):
    with pytest.raises(UsageError, match="gradient_checkpointing is not possible"):
        train(ToyStage(), replace(CONFIG, gradient_checkpointing=True), folder=tmp_path, name="toy")


def test_validation_sees_the_average_and_training_goes_on_undisturbed(tmp_path):
    seen = []

    def validate(stage, *, name, step, folder):
        seen.append((step, stage.trained.weight.detach().clone(), stage.trained.training))

    stage = ToyStage()
    with_validation, _ = reports_of(tmp_path / "a", stage, replace(CONFIG, validate_every=4), validate=validate)
    without, _ = reports_of(tmp_path / "b", ToyStage())
    assert [report.losses for report in with_validation] == [report.losses for report in without]
    assert [(step, training) for step, _, training in seen] == [(4, False), (6, False)]
    options = {"validate": lambda stage, *, step, folder, **_: seen.append(checkpoint_file(folder, step).is_file())}
    reports_of(tmp_path / "c", ToyStage(), replace(CONFIG, validate_every=3, checkpoint_every=100), **options)
    assert seen[2:] == [True, True], "it is saved before, for validation takes a while"
    del seen[2:]
    averages = [load_checkpoint(checkpoint_file(tmp_path / "a", step)).group("average")["weight"] for step in (4, 6)]
    assert all(torch.equal(value, average) for (_, value, _), average in zip(seen, averages, strict=True))
