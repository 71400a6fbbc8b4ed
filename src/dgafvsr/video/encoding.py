"""From wishes to one `Encoding`, or at once why they cannot be met and what can.

An encoding is plain data: it is kept with a job, and two runs with the same encoding give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import av

from dgafvsr.errors import OutputError, UsageError
from dgafvsr.video.codecs import (
    CODECS,
    CONTAINER_CODECS,
    CONTAINER_FORMATS,
    HEVC_MINIMUM_SIDE,
    PICTURE_DEPTHS,
    PRORES_PROFILES,
    WEBP_MAXIMUM_SIDE,
    Codec,
    EncoderSettings,
)
from dgafvsr.video.color import sample_bits
from dgafvsr.video.frames import SourceInfo
from dgafvsr.video.marks import STEREO_KINDS

BLOCK_CONTAINERS = frozenset(["matroska", "webm"])
# Codecs that say the shape of a pixel themselves; for others PyAV cannot tell Matroska of it.
SHAPE_CODECS = frozenset(["h264", "hevc"])
# Their encoders write mastering display and content light metadata.
HDR_CODECS = frozenset(["h264", "hevc", "av1"])

__all__ = ["Encoding", "holds_stereo", "is_folder_name", "plan_encoding"]


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """What is going to be written, all choices made. Plain data: `dataclasses.asdict` and back."""

    container: str
    """FFmpeg's name of the container, or "pictures" for a folder."""
    codec: str
    """One of `Codec`, or of `PictureFormat` for a folder."""
    pixel_format: str
    """FFmpeg's name of the stored layout."""
    bit_depth: int
    """Bits in a stored sample: the depth to quantize frames to."""
    alpha: bool
    """Whether transparency is stored."""
    options: Mapping[str, str]
    """The encoder's options, quality among them."""
    warnings: tuple[str, ...] = ()
    """What of the source's pictures is not kept, one sentence each."""

    @property
    def is_folder(self) -> bool:
        """Whether a folder of pictures is written."""
        return self.container == "pictures"


def is_folder_name(target: Path | str) -> bool:
    """Whether a target means a folder of pictures: no suffix, a trailing slash, or an existing folder."""
    path = Path(target)
    return str(target).endswith(("/", "\\")) or not path.suffix or (path.is_dir() and not path.is_symlink())


def plan_encoding(target: Path | str, info: SourceInfo, settings: EncoderSettings | None = None) -> Encoding:
    """What will be written for a target.

    Args:
        target: ends with a video suffix for a file; no suffix, a trailing slash or an existing folder means a folder.
        info: of the frames to come: size, depth, alpha.
        settings: None for the defaults.

    Raises:
        UsageError: the suffix is unknown, the container cannot hold the codec, or the codec not the quality, layout or
            option; the message names what fits.
        OutputError: the codec cannot hold pictures of this size, or this FFmpeg lacks its encoder.
    """
    settings = settings or EncoderSettings()
    if is_folder_name(target):
        return _plan_pictures(target, info, settings)
    target = Path(target)
    container = _container_format(target)
    codec = settings.codec or CONTAINER_CODECS[container][0]
    if codec not in CONTAINER_CODECS[container]:
        fitting = [suffix for suffix, name in CONTAINER_FORMATS.items() if codec in CONTAINER_CODECS[name]]
        raise UsageError(
            f"{target.name} cannot hold {codec}",
            got=f"{codec} in {target.suffix}",
            expected=f"for {target.suffix} one of {', '.join(CONTAINER_CODECS[container])}",
            remedy=f"choose another codec, or for {codec} a name that ends with {' or '.join(fitting)}",
        )
    facts = CODECS[codec]
    if facts.encoder not in av.codecs_available:
        raise OutputError(
            f"This FFmpeg has no encoder for {codec}",
            expected=facts.encoder,
            remedy=f"choose one of {', '.join(c for c in CODECS if CODECS[c].encoder in av.codecs_available)}",
        )
    pixel_format = _pixel_format(codec, container, info, settings)
    _check_size(target, codec, pixel_format, info)
    layout = av.VideoFormat(pixel_format)
    depth, alpha = sample_bits(layout), layout.components[-1].is_alpha
    return Encoding(
        container=container,
        codec=codec,
        pixel_format=pixel_format,
        bit_depth=depth,
        alpha=alpha,
        options={**_quality(codec, pixel_format, settings), **_further_options(codec, settings)},
        warnings=_losses(f"{codec} as {pixel_format}", depth, alpha, info, codec)
        + _shape_losses(container, codec, info)
        + _stereo_losses(container, info),
    )


def _container_format(target: Path) -> str:
    found = CONTAINER_FORMATS.get(target.suffix.lower())
    if found is None:
        raise UsageError(
            f"The kind of {target.name} is unknown",
            got=target.suffix or "no suffix",
            expected=f"one of {', '.join(sorted(CONTAINER_FORMATS))}",
            remedy="for a folder of pictures end the name with a slash",
        )
    return found


def _plan_pictures(target: Path | str, info: SourceInfo, settings: EncoderSettings) -> Encoding:
    kind = settings.picture_format
    if settings.codec or settings.quality is not None or settings.pixel_format or settings.options:
        raise UsageError(
            f"{target} is a folder of pictures, which are lossless and have no video codec",
            remedy="leave out codec, quality, pixel format and encoder options, or name a video file",
        )
    if kind == "webp" and max(info.width, info.height) > WEBP_MAXIMUM_SIDE:
        raise OutputError(
            f"{target} cannot hold such large pictures as WebP",
            got=f"{info.width}x{info.height}",
            expected=f"sides of at most {WEBP_MAXIMUM_SIDE} pixels",
            remedy="use png or tiff",
        )
    depth = 16 if info.bit_depth > 8 and 16 in PICTURE_DEPTHS[kind] else 8
    layout = ("rgba64" if info.has_alpha else "rgb48") if depth == 16 else ("rgba" if info.has_alpha else "rgb24")
    return Encoding(
        container="pictures",
        codec=kind,
        pixel_format=layout,
        bit_depth=depth,
        alpha=info.has_alpha,
        options={},
        warnings=_losses(kind, depth, info.has_alpha, info, None) + _stereo_losses("pictures", info),
    )


def _pixel_format(codec: Codec, container: str, info: SourceInfo, settings: EncoderSettings) -> str:
    facts = CODECS[codec]
    with_alpha = codec != "vp9" or container in BLOCK_CONTAINERS  # VP9 keeps alpha beside its packets
    if settings.pixel_format is not None:
        allowed = [name for name in facts.pixel_formats if with_alpha or "yuva" not in name]
        if settings.pixel_format not in allowed:
            raise UsageError(
                f"{codec} cannot be stored as {settings.pixel_format} in {container}",
                expected=f"one of {', '.join(allowed)}",
            )
        return settings.pixel_format
    wants_alpha = info.has_alpha and with_alpha
    layouts = [av.VideoFormat(name) for name in facts.defaults]
    fitting = [layout for layout in layouts if layout.components[-1].is_alpha == wants_alpha]
    fitting = fitting or layouts
    # Pictures of 16 bits become films of 10: what they show was 8 bits mostly, and few players know 12.
    wanted = info.bit_depth if info.bit_depth <= 12 else 10
    enough = [layout for layout in fitting if sample_bits(layout) >= wanted]
    chosen = min(enough, key=sample_bits) if enough else max(fitting, key=sample_bits)
    return chosen.name


def _quality(codec: Codec, pixel_format: str, settings: EncoderSettings) -> dict[str, str]:
    facts = CODECS[codec]
    quality = facts.default_quality if settings.quality is None else settings.quality
    if quality is None:
        return {}
    if not facts.qualities:
        raise UsageError(f"{codec} is lossless and takes no quality", got=quality, remedy="leave the quality out")
    if quality not in facts.qualities:
        raise UsageError(
            f"The quality is out of the range of {codec}",
            got=quality,
            expected=f"{facts.qualities[0]} (best) to {facts.qualities[-1]} (smallest)",
        )
    if codec == "prores":
        return {"profile": PRORES_PROFILES["444" if "444" in pixel_format else "422"][quality]}
    return {"crf": str(quality)}


def _further_options(codec: Codec, settings: EncoderSettings) -> dict[str, str]:
    allowed = CODECS[codec].options
    for name, value in settings.options.items():
        if name not in allowed:
            raise UsageError(
                f"The encoder option {name} is not on the list of {codec}",
                expected=f"one of {', '.join(allowed)}" if allowed else "none",
            )
        if value not in allowed[name]:
            raise UsageError(
                f"The encoder option {name} of {codec} is unknown",
                got=value,
                expected=f"one of {', '.join(allowed[name])}",
            )
    return dict(settings.options)


def _check_size(target: Path, codec: Codec, pixel_format: str, info: SourceInfo) -> None:
    halved_columns, halved_rows = "420" in pixel_format or "422" in pixel_format, "420" in pixel_format
    refuses = codec in ("h264", "hevc")  # the others store a size and fill the last chroma sample themselves
    if refuses and ((halved_columns and info.width % 2) or (halved_rows and info.height % 2)):
        raise OutputError(
            f"{target} cannot hold pictures of an odd size as {pixel_format}",
            got=f"{info.width}x{info.height}",
            remedy="use yuv444p or a picture folder",
        )
    if codec == "hevc" and min(info.width, info.height) < HEVC_MINIMUM_SIDE:
        raise OutputError(
            f"{target} cannot hold such small pictures as HEVC",
            got=f"{info.width}x{info.height}",
            expected=f"sides of at least {HEVC_MINIMUM_SIDE} pixels",
            remedy="use h264",
        )


def _losses(kind: str, depth: int, alpha: bool, info: SourceInfo, codec: Codec | None) -> tuple[str, ...]:
    notes = []
    if info.bit_depth > depth:
        remedy = "; png and tiff hold 16" if codec is None else "; hevc, av1, prores and ffv1 hold 10 or more"
        notes.append(f"the source has {info.bit_depth} bits a sample and {kind} holds {depth}{remedy}")
    if info.hdr is not None and codec not in HDR_CODECS:
        notes.append(
            f"the mastering display and light levels of HDR are dropped: {kind} holds none; h264, hevc and av1 do"
        )
    if info.has_alpha and not alpha:
        notes.append(
            f"the source's transparency is dropped: {kind} holds none; prores in .mov, ffv1 in .mkv, vp9 in .webm and "
            "picture folders do"
        )
    return tuple(notes)


def holds_stereo(container: str, kind: str) -> bool:
    """Whether a container can say how a picture holds two views.

    Args:
        container: FFmpeg's name, or "pictures".
        kind: as `SourceInfo.stereo` says it.
    """
    return kind in STEREO_KINDS.get(container, ())


def _stereo_losses(container: str, info: SourceInfo) -> tuple[str, ...]:
    if info.stereo is None or holds_stereo(container, info.stereo):
        return ()
    suffixes = [
        suffix for suffix, name in ((".mkv", "matroska"), (".webm", "webm")) if info.stereo in STEREO_KINDS[name]
    ]
    remedy = f"; {' and '.join(suffixes)} can" if suffixes else ""
    return (f"the mark of two views in a picture ({info.stereo}) is left out: {container} cannot say it here{remedy}",)


def _shape_losses(container: str, codec: Codec, info: SourceInfo) -> tuple[str, ...]:
    if info.sample_aspect_ratio == 1 or container not in BLOCK_CONTAINERS or codec in SHAPE_CODECS:
        return ()
    note = f"the sample aspect ratio {info.sample_aspect_ratio} is not kept: {codec} in {container} cannot say it"
    return (f"{note}; h264 and hevc can, and so can .mp4 and .mov",)
