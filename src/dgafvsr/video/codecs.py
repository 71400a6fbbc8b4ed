"""What can be written: codecs, the containers that hold them, their layouts of pixels, quality and options.

| container    | codecs (first: default)      |
|--------------|------------------------------|
| MP4, M4V     | h264, hevc, av1, vp9         |
| MOV          | h264, hevc, prores           |
| Matroska     | h264, hevc, av1, vp9, prores, ffv1 |
| WebM         | av1, vp9                     |
| folder       | png, tiff, webp (pictures)   |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from dgafvsr.errors import UsageError

__all__ = [
    "CODECS",
    "CONTAINER_CODECS",
    "CONTAINER_FORMATS",
    "ENCODERS",
    "HEVC_MINIMUM_SIDE",
    "PICTURE_DEPTHS",
    "PRORES_PROFILES",
    "WEBP_MAXIMUM_SIDE",
    "Codec",
    "CodecFacts",
    "EncoderSettings",
    "PictureFormat",
    "PixelFormat",
]

Codec = Literal["h264", "hevc", "av1", "vp9", "prores", "ffv1"]
PictureFormat = Literal["png", "tiff", "webp"]
PixelFormat = Literal[
    "yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv420p12le", "yuv422p12le",
    "yuv444p12le", "yuva420p", "yuva444p10le", "bgr0", "bgra", "gbrp16le", "gbrap16le",
]  # fmt: skip

CONTAINER_FORMATS = {".m4v": "mp4", ".mkv": "matroska", ".mov": "mov", ".mp4": "mp4", ".webm": "webm"}
"""Suffix of an output file -> FFmpeg's name of its container."""
CONTAINER_CODECS: Mapping[str, tuple[Codec, ...]] = MappingProxyType(
    {
        "mp4": ("h264", "hevc", "av1", "vp9"),
        "mov": ("h264", "hevc", "prores"),
        "matroska": ("h264", "hevc", "av1", "vp9", "prores", "ffv1"),
        "webm": ("av1", "vp9"),
    }
)
PICTURE_DEPTHS: Mapping[PictureFormat, tuple[int, ...]] = MappingProxyType(
    {"png": (8, 16), "tiff": (8, 16), "webp": (8,)}
)
X264_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
# libx265 writes outside its buffers for pictures narrower than its coding unit of 64 pixels (seen at 48x32 and 48x64).
HEVC_MINIMUM_SIDE = 64
WEBP_MAXIMUM_SIDE = 16383


@dataclass(frozen=True, kw_only=True)
class CodecFacts:
    """What a codec's encoder takes."""

    encoder: str
    """FFmpeg's name."""
    pixel_formats: tuple[PixelFormat, ...]
    """Layouts that can be asked for."""
    defaults: tuple[PixelFormat, ...]
    """Those that are chosen without asking: at most one for each depth, with and without alpha."""
    qualities: range
    """Values of `EncoderSettings.quality`, best first; empty for a lossless codec."""
    default_quality: int | None
    """None for a lossless codec."""
    options: Mapping[str, tuple[str, ...]]
    """Further options and their values; nothing else reaches the encoder."""


def _numbers(stop: int) -> tuple[str, ...]:
    return tuple(map(str, range(stop)))


CODECS: Mapping[Codec, CodecFacts] = MappingProxyType(
    {
        "h264": CodecFacts(
            encoder="libx264",
            pixel_formats=("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le"),
            defaults=("yuv420p", "yuv420p10le"),
            qualities=range(52),
            default_quality=16,
            options={
                "preset": X264_PRESETS,
                "tune": ("film", "animation", "grain", "stillimage", "fastdecode", "psnr", "ssim"),
            },
        ),
        "hevc": CodecFacts(
            encoder="libx265",
            pixel_formats=(
                "yuv420p",
                "yuv422p",
                "yuv444p",
                "yuv420p10le",
                "yuv422p10le",
                "yuv444p10le",
                "yuv420p12le",
                "yuv422p12le",
                "yuv444p12le",
            ),
            defaults=("yuv420p", "yuv420p10le", "yuv420p12le"),
            qualities=range(52),
            default_quality=18,
            options={"preset": X264_PRESETS, "tune": ("grain", "animation", "fastdecode", "psnr", "ssim")},
        ),
        "av1": CodecFacts(
            encoder="libsvtav1",
            pixel_formats=("yuv420p", "yuv420p10le"),
            defaults=("yuv420p", "yuv420p10le"),
            qualities=range(1, 64),
            default_quality=24,
            options={"preset": _numbers(14)},
        ),
        "vp9": CodecFacts(
            encoder="libvpx-vp9",
            pixel_formats=("yuv420p", "yuv422p", "yuv444p", "yuva420p"),
            defaults=("yuv420p", "yuva420p"),
            qualities=range(64),
            default_quality=20,
            options={"cpu-used": _numbers(9), "tune": ("psnr", "ssim")},
        ),
        "prores": CodecFacts(
            encoder="prores_ks",
            pixel_formats=("yuv422p10le", "yuv444p10le", "yuva444p10le"),
            defaults=("yuv422p10le", "yuva444p10le"),
            qualities=range(4),
            default_quality=0,
            options={},
        ),
        "ffv1": CodecFacts(
            encoder="ffv1",
            pixel_formats=(
                "bgr0",
                "bgra",
                "gbrp16le",
                "gbrap16le",
                "yuv420p",
                "yuv422p",
                "yuv444p",
                "yuv420p10le",
                "yuv422p10le",
                "yuv444p10le",
                "yuv420p12le",
                "yuv422p12le",
                "yuv444p12le",
                "yuva420p",
                "yuva444p10le",
            ),
            defaults=("bgr0", "bgra", "gbrp16le", "gbrap16le"),
            qualities=range(0),
            default_quality=None,
            options={"context": ("0", "1")},
        ),
    }
)
"""Every codec that can be asked for; whether this FFmpeg has its encoder is another matter."""
ENCODERS: Mapping[str, str] = MappingProxyType({codec: facts.encoder for codec, facts in CODECS.items()})
"""Codec -> FFmpeg's name of the encoder."""
# Best first: 422 HQ, 422, LT, Proxy. 4:4:4 layouts have 4444 XQ and 4444.
PRORES_PROFILES = {"422": ("hq", "standard", "lt", "proxy"), "444": ("4444xq", "4444", "4444", "4444")}


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """How pictures are stored. What is None is chosen for the target and the source by `plan_encoding`.

    Raises:
        UsageError: a value that is on no list.
    """

    codec: Codec | None = None
    """Of a video; None for the container's default."""
    quality: int | None = None
    """Lower is better, None for the codec's default. A constant rate factor for h264 and hevc (0 to 51; 16 and 18) and
    for av1 and vp9 (1 and 0 to 63; 24 and 20); for prores the profile: 0 (422 HQ or 4444 XQ), 1 (422 or 4444), 2 (LT),
    3 (Proxy); ffv1 is lossless and takes none."""
    pixel_format: PixelFormat | None = None
    """Stored layout; None for 4:2:0 (prores 4:2:2, ffv1 RGB) of the source's depth and with its alpha, as far as the
    codec can. yuv420p plays everywhere."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Further options of the encoder from the codec's list, such as preset and tune."""
    picture_format: PictureFormat = "png"
    """Of a picture folder. All are lossless; WebP has 8 bits only."""

    def __post_init__(self) -> None:
        for name, kind in (("codec", Codec), ("pixel_format", PixelFormat), ("picture_format", PictureFormat)):
            value = getattr(self, name)
            if value is not None and value not in get_args(kind):
                raise UsageError(
                    f"The {name.replace('_', ' ')} is unknown",
                    got=value,
                    expected=f"one of {', '.join(get_args(kind))}",
                )
        if self.quality is not None and not 0 <= self.quality <= 63:
            raise UsageError("The quality is out of range", got=self.quality, expected="0 (best) to 63, by codec")
