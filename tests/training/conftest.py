from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A smooth but structured picture, H W 3 uint8."""
    coarse = rng.integers(0, 256, (height // 6, width // 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory) -> Path:
    """A data folder with three photographs and one clip of 8 frames."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(5)
    (folder / "photos").mkdir()
    (folder / "videos").mkdir()
    for index, (height, width) in enumerate([(150, 210), (96, 180), (240, 160)]):
        cv2.imwrite(str(folder / "photos" / f"{index}.png"), picture(rng, height, width))
    write_clip(folder / "videos" / "clip.mp4", picture(rng, 180, 260), frames=8)
    return folder


def write_clip(path: Path, still: np.ndarray, *, frames: int) -> None:
    """A camera that pans over a picture by 2 px a frame: 160 x 128, 10 frames a second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        for index in range(frames):
            crop = np.ascontiguousarray(still[20:148, 2 * index : 2 * index + 160, ::-1])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(crop, format="rgb24")))
        container.mux(stream.encode())


TINY_OVERRIDES: dict[str, object] = {
    "autoencoder.trainer.steps": 4,
    "autoencoder.trainer.batch_size": 2,
    "autoencoder.trainer.precision": "no",
    "autoencoder.loss.perceptual_weight": 0.0,
    "autoencoder.side": 32,
    "autoencoder.width": 8,
    "autoencoder.encoder_blocks": 1,
    "autoencoder.decoder_blocks": 1,
    "autoencoder.detail_width": 8,
    "denoiser.velocity.steps": 4,
    "denoiser.velocity.batch_size": 2,
    "denoiser.velocity.precision": "no",
    "denoiser.sampler.steps": 2,
    "denoiser.sampler.batch_size": 2,
    "denoiser.sampler.precision": "no",
    "denoiser.sampler_loss.perceptual_weight": 0.0,
    "denoiser.texture": None,
    "denoiser.side": 32,
    "denoiser.block_out_channels": (8, 16),
    "denoiser.norm_num_groups": 4,
    "denoiser.sampler_steps": 2,
    "guidance.velocity.steps": 4,
    "guidance.velocity.batch_size": 2,
    "guidance.velocity.precision": "no",
    "guidance.sampler.steps": 2,
    "guidance.sampler.batch_size": 2,
    "guidance.sampler.precision": "no",
    "guidance.sampler_loss.perceptual_weight": 0.0,
    "guidance.sampler_loss.adversarial_weight": 0.0,
    "guidance.sampler_loss.statistics_weight": 0.0,
    "guidance.pairs.side": 32,
    "guidance.sequences.side": 32,
    "guidance.sampler_steps": 2,
    "decoder.trainer.steps": 2,
    "decoder.trainer.batch_size": 2,
    "decoder.trainer.precision": "no",
    "decoder.loss.perceptual_weight": 0.0,
    "decoder.loss.adversarial_weight": 0.0,
    "decoder.loss.statistics_weight": 0.0,
    "decoder.pairs.side": 32,
    "decoder.detail_blocks": 1,
    "decoder.fine_width": 4,
}
"""Shrinks every stage of `tiny` to a second."""
