"""Frames that are decoded when they are asked for are those that are decoded at once."""

import numpy as np
import pytest
import torch
from accelerate import cpu_offload
from tests import factories

from dgafvsr.errors import ModelError
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.models.lazy_frames import LazyFrames

CLIP = factories.clip(frames=3, height=24, width=32)


def test_pipeline_gives_the_same_frames_later():
    pipe = factories.pipeline()
    at_once = pipe(CLIP).frames
    later = pipe(CLIP, output_type="lazy").frames
    assert isinstance(later, LazyFrames)
    assert (len(later), later.sides) == (3, (24, 32))
    np.testing.assert_array_equal(np.stack(list(later)), at_once)
    np.testing.assert_array_equal(later[1], at_once[1])
    np.testing.assert_allclose(later.in_tiles(16)[2], at_once[2], rtol=0, atol=1e-5)  # the decoder's tiles are exact
    assert (later.tile, later.in_tiles(16).tile) == (None, 16)


def test_tail_is_not_among_them():
    assert len(factories.pipeline()(CLIP, output_type="lazy", tail=1).frames) == 2


def test_offloaded_decoder_decodes_at_once():
    """The next call would move the networks about meanwhile."""
    pipe = factories.pipeline()
    at_once = pipe(CLIP).frames
    cpu_offload(pipe.vae, execution_device=torch.device("cpu"))
    frames = pipe(CLIP, output_type="lazy").frames
    assert isinstance(frames, list)
    np.testing.assert_array_equal(np.stack(frames), at_once)


def test_frames_outside_are_an_index_error():
    frames = factories.pipeline()(CLIP, output_type="lazy").frames
    for index in (3, -1):
        with pytest.raises(IndexError):
            frames[index]


def test_values_that_are_not_numbers_are_told_when_they_are_decoded():
    pipe = factories.pipeline()
    latents = torch.full((1, 4, 24, 32), float("nan"))
    frames = LazyFrames(LatentCodec(pipe.vae), latents, torch.zeros(1, 3, 24, 32), torch.device("cpu"))
    with pytest.raises(ModelError, match="not numbers"):
        frames[0]
