import pytest

from dgafvsr.apps.cli.main import run
from dgafvsr.apps.cli.sampling_options import preset_of, sampling_of
from dgafvsr.errors import UsageError
from dgafvsr.sampling.presets import SamplingChoice
from dgafvsr.sampling.reuse import Reuse

NOTHING = {
    "solver": None,
    "turns": None,
    "guidance_every": None,
    "guidance_between": None,
    "features_every": None,
    "flow_scale": None,
    "initial_noise": None,
}


def test_no_option_asks_for_nothing():
    assert sampling_of(**NOTHING) == SamplingChoice()
    assert preset_of(None) is None


def test_options_mean_what_they_say():
    options = {"solver": "dpm++", "turns": "guided", "flow_scale": 2, "initial_noise": "transported"}
    steps = {"guidance_every": "0,3", "guidance_between": "skipped", "features_every": 2}
    reuse = Reuse(guidance_every=(0, 3), guidance_between="skipped", features_every=2)
    assert sampling_of(**NOTHING | options | steps) == SamplingChoice(**options, reuse=reuse)
    assert sampling_of(**NOTHING | {"guidance_every": "2"}).reuse == Reuse(guidance_every=2)
    assert sampling_of(**NOTHING | {"guidance_every": "-1"}).reuse == Reuse(guidance_every=(-1,))
    assert sampling_of(**NOTHING | {"guidance_every": "0"}).reuse == Reuse(guidance_every=(0,))
    assert preset_of("fast") == "fast"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"solver": "euler"}, "euler.*dpm"),
        ({"guidance_every": "often"}, "often"),
        ({"guidance_between": "skipped"}, "--guidance-every"),
        ({"features_every": 0}, "0"),
        ({"flow_scale": 3}, "3.*1, 2 or 4"),
        ({"initial_noise": "loud"}, "loud"),
    ],
)
def test_what_there_is_not_is_refused(wrong, words):
    with pytest.raises(UsageError, match=words):
        sampling_of(**NOTHING | wrong)


@pytest.mark.parametrize(("text", "words"), [("20", "--crf 20"), ("great", "fast or balanced or best")])
def test_a_number_is_no_quality(text, words):
    with pytest.raises(UsageError, match=words):
        preset_of(text)


def test_the_compression_of_a_video_is_not_its_quality_any_more(pipeline, video, tmp_path, capsys):
    assert run(["upscale", str(video), str(tmp_path / "out.mp4"), "--quality", "20"]) == 2
    assert "--crf 20" in capsys.readouterr().err
    assert pipeline.loaded is None
