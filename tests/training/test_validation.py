from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tests import factories
from toys import CONFIG, ToyStage

from dgafvsr.errors import InputError
from dgafvsr.evaluation.metrics import psnr
from dgafvsr.models.autoencoder import upsample_lr
from dgafvsr.training.trainer import TrainOptions, train
from dgafvsr.training.validation import (
    ScoringSettings,
    ValidationClip,
    Validator,
    bicubic_sampler,
    find_validation,
    load_clips,
    sample_clips,
)


def clips(frames=3):
    pixels = factories.clip(frames, 64, 80)
    smooth = np.repeat(np.repeat(pixels[:, ::8, ::8], 8, axis=1), 8, axis=2)
    tensor = torch.from_numpy(smooth).permute(0, 3, 1, 2).float() / 255
    return [ValidationClip(name="toy", hr=smooth, lr=torch.nn.functional.avg_pool2d(tensor, 4))]


class Sampled(ToyStage):
    """A stage with two samplers that can be told apart."""

    def samplers(self):
        return {"on": bicubic_sampler, "off": lambda lr: (upsample_lr(lr) * 0.5).clamp(0, 1)}


def test_scores_are_those_of_the_evaluation_room(tmp_path):
    (clip,) = clips()
    report = Validator(clips=[clip])(Sampled(), name="toy", step=7, folder=tmp_path)
    output = (bicubic_sampler(clip.lr) * 255).round() / 255
    truth = torch.from_numpy(clip.hr).permute(0, 3, 1, 2).float() / 255
    expected = float(psnr(output, truth).mean())
    assert report.scores["on"]["psnr"] == pytest.approx(expected, abs=1e-3)
    assert report.scores["on"]["psnr"] > report.scores["off"]["psnr"]
    assert report.picture == tmp_path / "validation" / "000007.png"
    assert Image.open(report.picture).size == (3 * 80, 3 * 64)
    assert [path.name for path in tmp_path.iterdir()] == ["validation"]


def test_a_stage_without_samplers_is_not_validated(tmp_path):
    assert Validator(clips=clips())(ToyStage(), name="toy", step=7, folder=tmp_path) is None


def test_validations_are_logged(tmp_path):
    options = TrainOptions(validate=Validator(clips=clips()))
    train(Sampled(), replace(CONFIG, steps=2, validate_every=1), folder=tmp_path, name="toy", options=options)
    lines = [json.loads(line) for line in (tmp_path / "validation.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[0]["scores"] == lines[1]["scores"]  # deterministic: these samplers do not learn
    assert {"psnr", "tof"} <= set(lines[0]["scores"]["off"])
    assert sorted(path.name for path in (tmp_path / "validation").iterdir()) == ["000001.png", "000002.png"]


def test_tensorboard_has_the_picture_of_each_validation(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    options = TrainOptions(validate=Validator(clips=clips()))
    train(Sampled(), replace(CONFIG, steps=4, validate_every=2), folder=tmp_path, name="toy", options=options)
    found = events.EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    pictures = found.Images("validation")
    assert [picture.step for picture in pictures] == [2, 4]
    for picture in pictures:
        assert (picture.width, picture.height) == (3 * 80, 3 * 64)  # 3 frames; truth and two samplers
        strip = np.asarray(Image.open(tmp_path / "validation" / f"{picture.step:06d}.png"))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture.encoded_image_string))), strip)
    (clip,) = clips()
    assert np.array_equal(strip[:64, :80], clip.hr[0])
    assert {"validation/psnr on", "validation/psnr off"} <= set(found.Tags()["scalars"])


def test_videos_are_halved_and_their_middle_is_used(data_folder, tmp_path):
    (tmp_path / "val").mkdir()
    shutil.copy(data_folder / "videos" / "clip.mp4", tmp_path / "val" / "clip.mp4")
    (whole,) = load_clips(tmp_path / "val", ScoringSettings(frames=4, side=None))
    assert whole.hr.shape == (4, 64, 80, 3)
    assert whole.lr.shape == (4, 3, 16, 20)
    (part,) = load_clips(tmp_path / "val", ScoringSettings(frames=2, side=32))
    assert np.array_equal(part.hr, whole.hr[:2, 16:48, 24:56])


def test_a_clip_of_one_frame_is_refused(tmp_path):
    (tmp_path / "clip").mkdir()
    Image.fromarray(factories.clip(1, 32, 32)[0]).save(tmp_path / "clip" / "0.png")
    with pytest.raises(InputError, match="too short"):
        load_clips(tmp_path, ScoringSettings())


def test_validation_folder_is_found_in_or_beside_the_data(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "val").mkdir()
    assert find_validation(tmp_path / "train") is None
    (tmp_path / "val" / "clip").mkdir()
    assert find_validation(tmp_path / "train") == tmp_path / "val"
    (tmp_path / "train" / "val" / "clip").mkdir(parents=True)
    assert find_validation(tmp_path / "train") == tmp_path / "train" / "val"


def test_the_validation_clips_of_reds_are_found_in_its_layout(tmp_path):
    (tmp_path / "train" / "train_sharp" / "001").mkdir(parents=True)
    for version in ("val_sharp", "val_sharp_bicubic"):
        (tmp_path / "val" / version / "000").mkdir(parents=True)
    assert find_validation(tmp_path) == tmp_path / "val" / "val_sharp"
    assert find_validation(tmp_path / "train") == tmp_path / "val" / "val_sharp"


def test_sampled_clips_are_kept_and_the_rest_waits(tmp_path):
    two = [clips()[0], ValidationClip(name="other", hr=clips()[0].hr, lr=clips()[0].lr)]
    asked = []

    def sampler(lr):
        asked.append(len(lr))
        return bicubic_sampler(lr)

    answers = iter([False, True])
    assert not sample_clips(sampler, two, tmp_path, stop=lambda: next(answers))
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]
    assert sample_clips(sampler, two, tmp_path)
    assert len(asked) == 2
