"""Tiny clips on disk and in memory."""

import numpy as np
import torch
from PIL import Image


def smooth_clip(t=3, height=40, width=52, seed=0, shift=1):
    """T 3 H W float in [0, 1]: a smooth texture that moves `shift` pixels to the right per frame."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 3, height // 4 + 2, (width + t * abs(shift)) // 4 + 2, generator=generator)
    scene = torch.nn.functional.interpolate(noise, size=(height, width + t * abs(shift)), mode="bicubic").clamp(0, 1)
    return torch.cat([scene[..., (t - k) * shift : (t - k) * shift + width] for k in range(t)])


def to_pixels(clip):
    """T H W 3 uint8 of a T 3 H W clip."""
    return (clip * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def write_clip(folder, clip, *, first=0, pattern="{:08d}.png"):
    """Write a clip as numbered pictures; the 8-bit clip as it will be read back."""
    folder.mkdir(parents=True)
    pixels = to_pixels(clip)
    for index, frame in enumerate(pixels):
        Image.fromarray(frame).save(folder / pattern.format(index + first))
    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(0, 3, 1, 2)


def noisy(clip, amount=0.05, seed=9):
    """The clip with noise of its own in every frame."""
    noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(seed))
    return (clip + amount * noise).clamp(0, 1)
