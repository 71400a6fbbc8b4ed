from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from conftest import TINY_OVERRIDES
from dgafvsr.errors import InputError, OutputError, UsageError
from dgafvsr.models.checkpoints import load_parts
from dgafvsr.training.recipes import RECIPES, TINY, run
from dgafvsr.training.runs import SKIPPED, Run, RunOptions


@pytest.fixture(scope="module")
def finished(data_folder, tmp_path_factory):
    """A whole chain at toy size, stopped once and continued: (run folder, model folder, reports)."""
    output = tmp_path_factory.mktemp("run")
    reports = []
    made = {"data": data_folder, "output": output, "overrides": TINY_OVERRIDES}
    assert run("tiny", options=RunOptions(max_minutes=0.0, listener=reports.append), **made) == output
    assert (output / "autoencoder" / "recipe.json").exists()
    model = run("tiny", options=RunOptions(listener=reports.append), **made)
    return output, model, reports


def test_chain_writes_a_complete_half_precision_model(finished):
    output, model, _ = finished
    assert model == output / "model"
    parts = load_parts(model)
    assert parts.settings == {
        "warp": "released",
        "default_steps": 2,
        "flow": "dis",
        "initial_noise": "shared",
        "turns": "guided",
    }
    assert parts.guidance is not None
    assert parts.scheduler.config.rescale_betas_zero_snr
    assert len(parts.vae.config.latents_std) == 4
    files = {path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()}
    weights = "diffusion_pytorch_model.safetensors"
    assert files == {
        "README.md",
        "model_index.json",
        "scheduler/scheduler_config.json",
        *(f"{part}/{name}" for part in ("unet", "guidance", "vae") for name in ("config.json", weights)),
        *(f"training/{stage}.json" for stage in ("autoencoder", "denoiser", "guidance", "decoder")),
    }
    from safetensors.torch import load_file

    assert {value.dtype for value in load_file(model / "unet" / weights).values()} == {torch.float16}


def test_measured_latents_have_unit_variance(finished, data_folder):
    from dgafvsr.training.data.library import open_data
    from dgafvsr.training.data.samples import PictureSamples
    from dgafvsr.training.stage_autoencoder import measure_latents

    output, _, _ = finished
    vae = load_parts(output / "model").vae
    data = PictureSamples(open_data(data_folder).pictures, side=32)
    mean, std = measure_latents(vae, data)
    assert max(abs(value) for value in mean) < 0.05  # float16 weights
    assert all(0.95 < value < 1.05 for value in std)


def test_every_phase_is_reported_and_its_recipe_saved(finished):
    output, _, reports = finished
    assert sorted({report.stage for report in reports}) == [
        "autoencoder",
        "decoder",
        "denoiser/sampler",
        "denoiser/velocity",
        "guidance/sampler",
        "guidance/velocity",
    ]
    saved = json.loads((output / "guidance" / "recipe.json").read_text())
    assert saved["velocity"]["steps"] == 4
    assert saved["pairs"]["motion"]["shift_px"] == TINY.guidance.pairs.motion.shift_px


def test_denoiser_is_untouched_by_the_guidance_stage(finished):
    output, model, _ = finished
    from safetensors.torch import load_file

    name = "diffusion_pytorch_model.safetensors"
    trained, exported = (load_file(folder / name) for folder in (output / "denoiser" / "result", model / "unet"))
    assert all(torch.equal(value.half(), exported[key]) for key, value in trained.items())


def test_other_settings_in_the_same_folder_are_refused(finished, data_folder):
    output, _, _ = finished
    with pytest.raises(UsageError, match="other settings"):
        run("autoencoder-tiny", data=data_folder, output=output)


def test_a_stage_needs_the_one_before(data_folder, tmp_path):
    with pytest.raises(UsageError, match="autoencoder is not finished"):
        run("denoiser-tiny", data=data_folder, output=tmp_path)
    assert list(tmp_path.iterdir()) == []  # so that the first stage can begin here


def test_what_cannot_be_used_is_refused_before_anything_is_written(data_folder, tmp_path):
    with pytest.raises(UsageError, match="too few checkpoints"):
        RunOptions(keep=0)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"file is a file.*--output"):
        run("tiny", data=data_folder, output=tmp_path / "file" / "run")
    assert (tmp_path / "file").read_text() == "mine"


def test_validation_clips_within_the_data_are_never_trained_on(data_folder, tmp_path):
    made = Run(data=data_folder, output=tmp_path, options=RunOptions(val=data_folder / "videos"))
    assert (len(made.data.photos), len(made.data.clips)) == (3, 0)


def test_skipped_sources_of_all_calls_are_listed(data_folder, tmp_path):
    made = Run(data=data_folder, output=tmp_path)
    made.list_skipped()
    assert list(tmp_path.iterdir()) == []
    made.data.photos.problems.add("b.jpg", "unreadable", "torn")
    made.list_skipped()
    assert (tmp_path / SKIPPED).read_text() == "1 training source was skipped\nb.jpg is skipped (unreadable): torn\n"
    again = Run(data=data_folder, output=tmp_path)
    again.data.clips.problems.add("a.mp4", "too short", "1 frames")
    again.list_skipped()
    lines = (tmp_path / SKIPPED).read_text().splitlines()
    assert lines[0] == "2 training sources were skipped"
    assert [line.split()[0] for line in lines[1:]] == ["a.mp4", "b.jpg"]


def test_missing_data_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="no training data"):
        run("tiny", data=tmp_path / "nothing", output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_validation_clips_are_refused_before_anything_is_written(data_folder, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        run("tiny", data=data_folder, output=tmp_path / "run", options=RunOptions(val=tmp_path / "none"))
    assert not (tmp_path / "run").exists()


def test_unknown_recipes_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no training recipe huge"):
        run("huge", data=tmp_path, output=tmp_path)


def test_every_recipe_is_made_and_described():
    assert list(RECIPES) == [
        "autoencoder-tiny",
        "denoiser-tiny",
        "guidance-tiny",
        "tiny",
        "finetune",
        "guidance-sdx4",
        "stablevsr",
        "ablation",
    ]
    for entry in RECIPES.values():
        assert entry.what
        assert entry.budget
        assert entry.make() == entry.make()
    assert RECIPES["denoiser-tiny"].make() is TINY.denoiser


def test_the_papers_recipe_has_the_papers_numbers():
    recipe = RECIPES["guidance-sdx4"].make()
    trainer = recipe.velocity
    assert (trainer.batch_size, trainer.learning_rate, trainer.weight_decay, trainer.clip_norm) == (32, 5e-5, 1e-2, 1.0)
    assert (trainer.schedule, trainer.warmup_steps, trainer.average_decay) == ("constant", 0, 0.0)
    assert (recipe.pairs.side, recipe.pairs.clip_share, recipe.pairs.fault_share) == (256, 1.0, 0.0)
    assert recipe.warp == "released"
    ours = (recipe.guided_neighbor_share, recipe.shared_noise_share, recipe.sampler_share)
    assert ours == (0, 0, 0)
    assert (recipe.zero_condition, recipe.aligned_lr) == (False, False)


def test_both_calls_of_one_command_train_the_same(data_folder, tmp_path):
    only_first = {key.removeprefix("autoencoder."): value for key, value in TINY_OVERRIDES.items()}
    only_first = {
        key: value for key, value in only_first.items() if not key.startswith(("denoiser", "guidance", "decoder"))
    }
    from safetensors.torch import load_file

    name = "diffusion_pytorch_model.safetensors"
    results = [
        run("autoencoder-tiny", data=data_folder, output=tmp_path / str(k), overrides=only_first) for k in range(2)
    ]
    first, second = (load_file(result / name) for result in results)
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_strongly_degraded_pictures_reach_the_stages(data_folder, tmp_path):
    made = Run(data=data_folder, output=tmp_path)
    recipe = dataclasses.replace(TINY.denoiser, side=32, fault_share=0.25, realistic_share=0.5)
    samples = made.pictures(recipe, seed=3)
    assert (samples.side, samples.fault_share, samples.realistic_share) == (32, 0.25, 0.5)
    plain = made.pictures(dataclasses.replace(recipe, fault_share=0.0, realistic_share=0.0), seed=3)
    assert any(not torch.equal(samples[k]["lr"], plain[k]["lr"]) for k in range(4))
