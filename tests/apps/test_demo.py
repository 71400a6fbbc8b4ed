from pathlib import Path

import av
import pytest

from dgafvsr.apps.cli.main import run

CLIP = Path(__file__).parents[2] / "examples" / "bigbuckbunny_320x180.mp4"


def duration(stream):
    return stream.duration * stream.time_base


@pytest.mark.slow
def test_packaged_model_upscales_the_example_with_its_sound(tmp_path):
    assert run(["upscale", str(CLIP), str(tmp_path / "out.mp4")]) == 0
    with av.open(str(CLIP)) as before, av.open(str(tmp_path / "out.mp4")) as after:
        video, sound = after.streams.video[0], after.streams.audio[0]
        assert (video.width, video.height, video.frames) == (1280, 720, 24)
        assert duration(video) == duration(before.streams.video[0])
        assert duration(sound) == duration(before.streams.audio[0])
        pictures = [frame.to_ndarray(format="rgb24") for frame in after.decode(video=0)]
    assert len(pictures) == 24
    assert min(picture.std() for picture in pictures) > 20
