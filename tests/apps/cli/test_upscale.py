import inspect
import json
import shutil
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import dgafvsr.pipeline
from dgafvsr.apps.cli import devices
from dgafvsr.apps.cli.main import run
from dgafvsr.apps.cli.upscale import upscale
from dgafvsr.jobs.settings import UpscaleSettings
from tests import factories
from tests.apps.cli import films
from tests.video.films import pictures, write_film


def failure(capsys, tmp_path, *arguments):
    """Exit code and the one line of a command that must fail and leave nothing behind."""
    before = sorted(path for path in tmp_path.rglob("*"))
    code = run([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1, printed.err
    assert "Traceback" not in printed.err
    assert "internal error" not in printed.err
    assert sorted(path for path in tmp_path.rglob("*")) == before
    return code, printed.err


def test_video_becomes_a_video_four_times_as_large(pipeline, video, tmp_path, capsys):
    assert run(["upscale", str(video), str(tmp_path / "out.mp4"), "--device", "cpu", "--dtype", "float32"]) == 0
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.frames) == (88, 72, 5)
        assert stream.average_rate == 25
    summary = capsys.readouterr().out
    for part in ("out.mp4", "5 of 88x72", "frames/s", "cpu, float32", "peak memory", "loading the model"):
        assert part in summary


def test_pictures_become_pictures(pipeline, tmp_path):
    source = films.write_pictures(tmp_path / "in")
    assert run(["upscale", str(source), f"{tmp_path / 'out'}/"]) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == films.FRAMES


def test_options_reach_the_pipeline(pipeline, video, tmp_path):
    options = "--model m/x --revision r --flow dis_fast --device cpu --dtype bfloat16 --steps 3 --seed 7 --no-guidance"
    windows = "--window 4 --overlap 2"
    assert run(["upscale", str(video), str(tmp_path / "out.mp4"), *options.split(), *windows.split()]) == 0
    assert pipeline.loaded == {"model": "m/x", "revision": "r", "flow": "dis_fast", "torch_dtype": torch.bfloat16}
    assert pipeline.device == torch.device("cpu")
    assert [call["first_frame"] for call in pipeline.calls] == [0, 2]
    assert all(call["steps"] == 3 and call["seed"] == 7 and not call["guided"] for call in pipeline.calls)


@pytest.mark.usefixtures("_threads_as_before")
def test_a_job_goes_on_with_another_number_of_threads(pipeline, video, tmp_path):
    """Frames differ by rounding at most, as they do between machines of different processors, which may go on too."""
    words = ["upscale", str(video), str(tmp_path / "out.mkv"), "--window", "3", "--overlap", "1"]
    pipeline.fail_at = 2
    assert run([*words, "--threads", "1"]) == 3
    assert torch.get_num_threads() == 1
    pipeline.fail_at = None
    assert run([*words, "--threads", "2"]) == 0
    assert torch.get_num_threads() == 2
    assert [call["first_frame"] for call in pipeline.calls] == [0, 2]


def test_codec_and_quality_reach_the_encoder(pipeline, video, tmp_path):
    assert run(["upscale", str(video), str(tmp_path / "out.mkv"), "--codec", "hevc", "--crf", "30"]) == 0
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.streams.video[0].codec_context.name == "hevc"


def test_frame_rate_of_pictures_is_exact(pipeline, tmp_path):
    source = films.write_pictures(tmp_path / "in")
    assert run(["upscale", str(source), str(tmp_path / "out.mp4"), "--fps", "30000/1001"]) == 0
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)


def test_overwrite_replaces(pipeline, video, tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")
    assert run(["upscale", str(video), str(target), "--overwrite"]) == 0
    assert target.stat().st_size > 3


def test_defaults_are_the_settings(pipeline):
    defaults = {name: parameter.default for name, parameter in inspect.signature(upscale).parameters.items()}
    settings = UpscaleSettings()
    for name in ("steps", "seed", "overlap", "tile", "tile_overlap", "part", "overwrite", "deinterlace", "on_error"):
        assert defaults[name] == getattr(settings, name), name
    for name in ("codec", "quality", "pixel_format", "picture_format"):
        assert defaults[name] == getattr(settings.encoder, name), name
    for name in ("scale", "width", "height"):
        assert defaults[name] == getattr(settings.size, name), name
    assert (defaults["size"], defaults["encoder_options"]) == (settings.size.box, settings.encoder.options or None)
    assert (defaults["window"], settings.window) == ("auto", None)
    assert (defaults["job"], defaults["restart"], defaults["keep_job"]) == (None, False, False)
    assert (defaults["shots"], defaults["save_shots"]) == (settings.shots, settings.save_shots)
    assert defaults["no_shots"] is not settings.detect_shots
    assert defaults["guidance"] == settings.guided
    assert defaults["fps"] == settings.frame_rate


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--steps", "0"], ["steps", "0"]),
        (["--offload", "disk"], ["disk", "none, model, sequential"]),
        (["--steps", "many"], ["--steps"]),
        (["--threads", "0"], ["threads", "0", "1 to 1024"]),
        (["--threads", "-2"], ["threads", "-2"]),
        (["--window", "4", "--overlap", "4"], ["overlap 4"]),
        (["--window", "many"], ["many", "auto"]),
        (["--tile", "7"], ["7", "32"]),
        (["--codec", "mpeg2"], ["mpeg2", "h264, hevc"]),
        (["--codec", "ffv1"], ["ffv1", ".mkv"]),
        (["--crf", "99"], ["99"]),
        (["--encoder-option", "preset"], ["preset", "NAME=VALUE"]),
        (["--encoder-option", "x264-params=a"], ["x264-params", "preset"]),
        (["--picture-format", "gif"], ["gif", "png, tiff, webp"]),
        (["--scale", "5"], ["5", "at most 4"]),
        (["--size", "1920"], ["1920", "WIDTHxHEIGHT"]),
        (["--height", "17"], ["17"]),
        (["--scale", "2", "--height", "40"], ["--scale and --height"]),
        (["--preview", "soon"], ["soon", "48f"]),
        (["--range", "3-2"], ["3 s to 2 s"]),
        (["--range", "0-1", "--preview", "1"], ["--preview and --range"]),
        (["--on-error", "ignore"], ["ignore", "skip-damaged"]),
        (["--max-pixels", "0"], ["0"]),
        (["--max-seconds", "nan"], ["nan", "leave --max-seconds out"]),
        (["--max-seconds", "inf"], ["inf", "leave --max-seconds out"]),
        (["--scale", "1e999999999"], ["1e999999999", "such as 2, 3 or 2.5"]),  # would fill the memory as a fraction
        (["--size", "9" * 5000 + "x9"], ["WIDTHxHEIGHT"]),
        (["--fps", "25/0"], ["25/0", "30000/1001"]),
        (["--fps", "1.2.3"], ["1.2.3"]),
        (["--fps", "fast"], ["fast", "30000/1001"]),
        (["--fps", "25"], ["has its own frame rate"]),
        (["--flow", "lucas"], ["lucas", "raft_small"]),
        (["--device", "gpu"], ["gpu", "cpu"]),
        (["--device", "cuda:99"], ["cuda:99", "cpu"]),
        (["--dtype", "int8"], ["int8", "bfloat16, float16, float32"]),
        (["--sharpen"], ["--sharpen", "Try 'dgafvsr upscale --help'"]),
    ],
)
def test_wrong_option_is_one_line_and_exit_2(pipeline, video, tmp_path, capsys, options, words):
    code, line = failure(capsys, tmp_path, "upscale", video, tmp_path / "out.mp4", *options)
    assert code == 2
    for word in words:
        assert word in line
    assert pipeline.loaded is None, "the model was loaded although the command could not work"


def test_wrong_suffix_is_exit_2_before_the_model_is_loaded(pipeline, video, tmp_path, capsys):
    code, line = failure(capsys, tmp_path, "upscale", video, tmp_path / "out.gif")
    assert (code, pipeline.loaded) == (2, None)
    assert ".mp4" in line


def test_missing_argument_is_exit_2(tmp_path, capsys):
    code, line = failure(capsys, tmp_path, "upscale", "in.mp4")
    assert code == 2
    assert "OUT" in line


def no_file(folder):
    return folder / "none.mp4"


def no_video(folder):
    (folder / "text.mp4").write_text("no film")
    return folder / "text.mp4"


def empty(folder):
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


def only_sound(folder):
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.rate = 48000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    return folder / "sound.mp4"


def truncated(folder):
    video = films.write_video(folder / "whole.mp4", frames=30)
    (folder / "torn.mp4").write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    return folder / "torn.mp4"


def small(folder):
    return films.write_video(folder / "small.mp4", width=12, height=14)


def mixed(folder):
    return films.write_pictures(folder / "mixed", sizes=[(22, 18), (22, 18), (24, 18)])


def no_pictures(folder):
    (folder / "nothing").mkdir()
    return folder / "nothing"


@pytest.mark.parametrize("make", [no_file, no_video, empty, only_sound, truncated, small, mixed, no_pictures])
def test_bad_input_is_one_line_and_exit_3_before_the_model_is_loaded(pipeline, tmp_path, capsys, make):
    source = make(tmp_path)
    code, line = failure(capsys, tmp_path, "upscale", source, tmp_path / "out.mp4")
    assert (code, pipeline.loaded) == (3, None), line
    assert source.name in line


def existing(folder):
    (folder / "out.mp4").touch()
    return folder / "out.mp4"


def homeless(folder):
    return folder / "no" / "out.mp4"


def input_itself(folder):
    return folder / "in.mp4"


@pytest.mark.parametrize("make", [existing, homeless, input_itself])
def test_bad_output_is_one_line_and_exit_1_before_the_model_is_loaded(pipeline, video, tmp_path, capsys, make):
    target = make(tmp_path)
    content = target.read_bytes() if target.exists() else None
    code, line = failure(capsys, tmp_path, "upscale", video, target)
    assert (code, pipeline.loaded) == (1, None), line
    assert (target.read_bytes() if target.exists() else None) == content


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    factories.pipeline().save_pretrained(folder)
    return folder


def test_real_pipeline_runs_from_a_folder(saved_model, video, tmp_path):
    assert run(["upscale", str(video), str(tmp_path / "out.mp4"), "--model", str(saved_model)]) == 0
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].frames == films.FRAMES


@pytest.fixture
def model(saved_model, tmp_path):
    """A copy of the saved model that a test may break."""
    return shutil.copytree(saved_model, tmp_path / "model")


def test_no_such_model_is_exit_3(video, tmp_path, capsys):
    code, line = failure(capsys, tmp_path, "upscale", video, tmp_path / "out.mp4", "--model", tmp_path / "nomodel")
    assert code == 3
    assert "nomodel" in line


def test_model_without_a_part_is_exit_3(model, video, tmp_path, capsys):
    (model / "vae").rename(tmp_path / "elsewhere")
    code, line = failure(capsys, tmp_path, "upscale", video, tmp_path / "out.mp4", "--model", model)
    assert code == 3
    assert "vae" in line


def weights(model):
    return next((model / "unet").glob("*.safetensors"))


def test_model_of_another_shape_is_exit_3(model, video, tmp_path, capsys):
    tensors = load_file(weights(model))
    tensors["conv_in.weight"] = tensors["conv_in.weight"][:, :3].contiguous()
    save_file(tensors, weights(model))
    code, line = failure(capsys, tmp_path, "upscale", video, tmp_path / "out.mp4", "--model", model)
    assert code == 3
    assert "conv_in.weight" in line


def test_truncated_weights_are_exit_3(model, video, tmp_path, capsys):
    weights(model).write_bytes(weights(model).read_bytes()[:-100])
    code, line = failure(capsys, tmp_path, "upscale", video, tmp_path / "out.mp4", "--model", model)
    assert code == 3
    assert weights(model).name in line


def test_nan_in_weights_is_exit_3(model, video, tmp_path, capsys):
    tensors = load_file(weights(model))
    tensors["conv_in.weight"][0, 0, 0, 0] = torch.nan
    save_file(tensors, weights(model))
    code, _ = failure(capsys, tmp_path, "upscale", video, tmp_path / "out.mp4", "--model", model)
    assert code == 3


def test_shots_are_saved_followed_and_counted(pipeline, video, tmp_path, capsys):
    saved = tmp_path / "shots.json"
    assert run(["upscale", str(video), str(tmp_path / "a.mp4"), "--save-shots", str(saved)]) == 0
    assert "shots        1" in capsys.readouterr().out
    saved.write_text('{"shots": [{"start_frame": 0}, {"start_frame": 3}]}')
    assert run(["upscale", str(video), str(tmp_path / "b.mp4"), "--shots", str(saved)]) == 0
    assert "shots        2" in capsys.readouterr().out
    assert [call["first_frame"] for call in pipeline.calls] == [0, 0, 3]
    assert run(["upscale", str(video), str(tmp_path / "c.mp4"), "--no-shots"]) == 0


def test_contradicting_shot_options_are_exit_2(pipeline, video, tmp_path, capsys):
    options = ["--no-shots", "--shots", tmp_path / "shots.json"]
    code, line = failure(capsys, tmp_path, "upscale", video, tmp_path / "out.mp4", *options)
    assert (code, pipeline.loaded) == (2, None)
    assert "--no-shots" in line


def test_wrong_shot_list_is_exit_3(pipeline, video, tmp_path, capsys):
    code, line = failure(capsys, tmp_path, "upscale", video, tmp_path / "out.mp4", "--shots", tmp_path / "none.json")
    assert (code, pipeline.loaded) == (3, None)
    assert "none.json" in line


def test_size_part_and_encoder_options_reach_the_output(pipeline, video, tmp_path):
    options = "--scale 2 --preview 3f --codec ffv1 --pixel-format yuv444p --encoder-option context=1"
    assert run(["upscale", str(video), str(tmp_path / "out.mkv"), *options.split()]) == 0
    with av.open(str(tmp_path / "out.mkv")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.pix_fmt) == (44, 36, "yuv444p")
        assert sum(1 for _ in container.decode(stream)) == 3


def test_tiles_reach_the_pipeline(pipeline, video, tmp_path):
    assert run(["upscale", str(video), str(tmp_path / "out"), "--tile", "40", "--tile-overlap", "8"]) == 0
    assert [(call["tile"], call["tile_overlap"]) for call in pipeline.calls] == [(40, 8)]


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--max-pixels", "100"], ["--max-pixels"]), (["--max-frames", "4"], ["4"]), (["--max-seconds", "0.1"], ["0.1"])],
)
def test_inputs_over_the_limits_are_exit_3(pipeline, video, tmp_path, capsys, options, words):
    code, line = failure(capsys, tmp_path, "upscale", video, tmp_path / "out.mp4", *options)
    assert (code, pipeline.loaded) == (3, None)
    for word in words:
        assert word in line


def test_json_is_one_object_with_the_result(pipeline, video, tmp_path, capsys):
    words = ["upscale", str(video), str(tmp_path / "out.mp4"), "--json", "--device", "cpu", "--dtype", "float32"]
    assert run(words) == 0
    facts = json.loads(capsys.readouterr().out)
    expected = {"ok": True, "exit_code": 0, "output": str(tmp_path / "out.mp4"), "frames": 5, "frames_resumed": 0}
    expected |= {"shots": 1, "width": 88, "height": 72, "device": "cpu", "dtype": "float32", "warnings": []}
    assert expected.items() <= facts.items()
    documented = {"window", "tile", "seconds", "frames_per_second", "loading_seconds", "peak_memory_bytes"}
    assert set(facts) == set(expected) | documented


@pytest.mark.parametrize(
    ("source", "options", "code", "kind"),
    [
        ("none.mp4", [], 3, "input"),
        ("in.mp4", ["--steps", "0"], 2, "usage"),
        ("in.mp4", ["--steps", "many"], 2, "usage"),
        ("in.mp4", ["--job", "none/job"], 1, "output"),
    ],
)
def test_json_is_one_object_on_failure_too(pipeline, video, tmp_path, capsys, source, options, code, kind):
    words = [str(tmp_path / word) if word.startswith("none/") else word for word in options]
    assert run(["upscale", str(tmp_path / source), str(tmp_path / "out.mp4"), "--json", *words]) == code
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert (facts["ok"], facts["exit_code"], facts["error"]["kind"]) == (False, code, kind)
    assert set(facts["error"]) == {"kind", "message", "got", "expected", "remedy"}
    assert printed.err == f"error: {facts['error']['message']}\n"


def test_unfinished_job_is_gone_on_with(pipeline, video, tmp_path, capsys):
    words = ["upscale", str(video), str(tmp_path / "out"), "--window", "3", "--overlap", "1"]
    pipeline.fail_at = 2
    assert run(words) == 3
    assert "2 finished frames are kept" in capsys.readouterr().err
    pipeline.fail_at = None
    assert run([*words, "--seed", "1"]) == 2
    assert "--restart" in capsys.readouterr().err
    assert run(words) == 0
    assert "5 of 88x72, 2 of them finished before" in capsys.readouterr().out


def test_help_ends_with_the_exit_codes(capsys):
    assert run(["upscale", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for code in ("0 done", "2 wrong usage", "4 too little memory or disk", "130 interrupted"):
        assert code in text


def test_what_the_output_cannot_hold_is_named_before_the_work_begins_and_only_once(tmp_path, capsys, monkeypatch):
    film = write_film(tmp_path / "in.mkv", pictures(3), sound_seconds=0.1)
    said = []

    class Looking(films.EnlargingPipeline):
        def from_pretrained(self, *names, **options):
            said.append(capsys.readouterr().err)
            return super().from_pretrained(*names, **options)

    monkeypatch.setattr(dgafvsr.pipeline, "DGAFVSRPipeline", Looking())
    options = ["--encoder-option", "preset=12", "--json"]
    assert run(["upscale", str(film), str(tmp_path / "out.webm"), *options]) == 0
    lost = "audio stream 1 (aac) is left out: webm does not hold aac"
    printed = capsys.readouterr()
    assert said == [f"note: {lost}\n"]
    assert printed.err == ""
    assert json.loads(printed.out)["warnings"] == [lost]


@pytest.fixture
def offloadable(monkeypatch):
    """A GPU's way with offload, on the CPU."""
    monkeypatch.setattr(devices, "choose_offload", lambda name, device: name)


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offload_reaches_the_pipeline_and_is_no_part_of_the_job(
    pipeline, offloadable, video, tmp_path, capsys, offload
):
    words = ["upscale", str(video), str(tmp_path / "out.mp4"), "--window", "4", "--overlap", "2", "--device", "cpu"]
    pipeline.fail_at = 2
    assert run([*words, "--offload", offload]) == 3
    assert (pipeline.offload, pipeline.device) == (offload, torch.device("cpu"))
    pipeline.fail_at, pipeline.offload = None, "none"
    assert run(words) == 0
    assert pipeline.offload == "none"
    assert "5 of 88x72, 2 of them finished before" in capsys.readouterr().out


def test_offload_from_the_cpu_is_one_line_and_goes_on(pipeline, video, tmp_path, capsys):
    assert run(["upscale", str(video), str(tmp_path / "out.mp4"), "--device", "cpu", "--offload", "model"]) == 0
    assert "note: nothing is offloaded from cpu" in capsys.readouterr().err
    assert pipeline.offload == "none"
