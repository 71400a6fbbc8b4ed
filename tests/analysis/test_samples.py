import pytest
import torch

from dgafvsr.analysis.samples import ClipSettings, clip_samples, encode_frame, encode_latent
from dgafvsr.errors import InputError, UsageError
from dgafvsr.models.latent_codec import LatentCodec
from tests import factories
from tests.evaluation.pictures import smooth_clip, write_clip

T, H, W = 3, 70, 94


class KnownFlow:
    """Says how far the smooth clip moved, by the order of the frames that it is shown."""

    def __call__(self, current, neighbor):
        return torch.full_like(current[:, :2], 1.5)


@pytest.fixture
def clip(tmp_path):
    write_clip(tmp_path / "clip", smooth_clip(T, H, W))
    return tmp_path / "clip"


def test_every_pair_comes_in_both_directions(clip):
    samples = list(clip_samples([clip, clip], encode_frame, KnownFlow()))
    assert len(samples) == 2 * 2 * (T - 1)
    first, second = samples[:2]
    assert first.current.shape == (1, 3, H // 4, W // 4)
    assert first.flow.shape == (1, 2, H // 4 * 4, W // 4 * 4)
    assert torch.equal(first.current, second.neighbor)
    assert torch.equal(first.neighbor, second.current)
    assert torch.equal(samples[2].neighbor, first.current)


def test_latents_come_from_the_codec(clip):
    codec = LatentCodec(factories.autoencoder())
    (sample, _) = clip_samples([clip], encode_latent(codec), KnownFlow(), ClipSettings(max_frames=2, crop=16))
    (hr, _) = ClipSettings(max_frames=2, crop=16).frames(clip)
    lr = encode_frame(hr, torch.nn.functional.interpolate(hr, scale_factor=0.25, mode="bicubic", antialias=True))
    assert sample.neighbor.shape == (1, 4, 16, 16)
    with torch.no_grad():
        expected = codec.encode(2 * hr - 1, lr)
    # The reduced frame is rounded to 8 bits and its border mirrored; the encoder sees little of either.
    assert torch.allclose(sample.neighbor, expected, atol=0.05)


def test_crop_is_the_centre(clip):
    whole, cut = (next(ClipSettings(crop=crop).frames(clip)) for crop in (None, 16))
    assert whole.shape == (1, 3, 68, 92)
    assert torch.equal(cut, next(ClipSettings().frames(clip))[..., 0:64, 12:76])


@pytest.mark.parametrize("options", [{"max_frames": 1}, {"crop": 8}])
def test_impossible_parts_are_refused(options):
    with pytest.raises(UsageError):
        ClipSettings(**options)


def test_clips_that_cannot_serve_are_named(clip, tmp_path):
    write_clip(tmp_path / "one", smooth_clip(1, H, W))
    for path, settings in ((tmp_path / "one", ClipSettings()), (clip, ClipSettings(crop=20))):
        with pytest.raises(InputError, match=path.name):
            list(settings.frames(path))
