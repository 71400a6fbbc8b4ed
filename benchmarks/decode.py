"""The decoder: our way against the authors', whole and in tiles, and what half precision costs in the picture.

python benchmarks/decode.py [--layout tiny|sdx4] [--size 320x180] [--tile 128] [--write]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from harness import Report, options_of, parser, pipeline, random_tensors, seconds

from dgafvsr.models.latent_codec import LatentCodec


@torch.inference_mode()
def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    made = parser("decode", __doc__)
    made.add_argument("--tile", type=int, default=128, help="latent pixels in the side of a tile")
    options = options_of(made, words)
    latents, lr, _ = random_tensors(options)
    theirs = pipeline(options, reference=True).vae
    ours = pipeline(options).vae
    columns = ("run as", "s a frame", "ratio", "PSNR to the first, dB")
    report = Report(title=f"Decoding, {options.layout}, {options.size}", columns=columns, options=options)
    codecs = {
        "the authors' way, float32": LatentCodec(theirs),
        f"our way, {options.dtype}": LatentCodec(ours),
        f"our way, {options.dtype}, tiles of {options.tile}": LatentCodec(ours, options.tile),
    }
    slow, expected = 0.0, torch.zeros(())
    for name, codec in codecs.items():
        found = codec.decode_pixels(latents, lr)
        taken = seconds(lambda codec=codec: codec.decode_pixels(latents, lr), options)
        if not slow:
            slow, expected = taken, found
        noise = (found - expected).square().mean()
        psnr = f"{-10 * noise.log10():.1f}" if noise else "equal"
        report.add(name, f"{taken:.3f}", f"{slow / taken:.2f}", psnr)
    report.finish()


if __name__ == "__main__":
    main()
