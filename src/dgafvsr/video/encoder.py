"""Frames to packets, the same bytes each time.

libx264, libx265 and libvpx give other bytes on another number of cores unless their number of threads is fixed, so it
is fixed here; SVT-AV1, prores_ks and ffv1 do not care. What all encoders have in common: every stream starts with a key
picture, and no picture leans on one of another group (closed groups of pictures), so that streams can be joined by
their packets.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction

from av.container import OutputContainer
from av.packet import Packet
from av.video.reformatter import ColorRange, VideoReformatter
from av.video.stream import VideoStream

from dgafvsr.video.codecs import CODECS, Codec
from dgafvsr.video.color import GBR_MATRIX, pixels_to_video_frame
from dgafvsr.video.encoding import Encoding, holds_stereo
from dgafvsr.video.frames import Frame, SourceInfo
from dgafvsr.video.hdr import HDRMetadata
from dgafvsr.video.marks import STEREO_NOTE

__all__ = ["Encoder", "set_picture_properties"]

THREADS = {"h264": 8, "hevc": 2, "vp9": 4, "prores": 4, "ffv1": 4}  # of hevc: pictures at once
FASTEST = {"av1": Fraction(240)}  # frames in a second that SVT-AV1 accepts; a hint, times are the packets'
PRORES_TAGS = {
    "proxy": "apco", "lt": "apcs", "standard": "apcn", "hq": "apch", "4444": "ap4h", "4444xq": "ap4x"
}  # fmt: skip
RGB_FORMATS = frozenset(["bgr0", "bgra", "gbrp16le", "gbrap16le"])


class Encoder:
    """The picture stream of an output container.

    Args:
        container: opened for writing; a stream is added to it.
        info: of the frames to come.
        encoding: what to make of them.
    """

    def __init__(self, container: OutputContainer, info: SourceInfo, encoding: Encoding) -> None:
        self._encoding = encoding
        self._color = info.color.resolved(width=info.width, height=info.height)
        self._reformatter = VideoReformatter()
        self._durations: dict[int, int] = {}
        self._time_base = info.time_base
        self._frames = self._first_duration = 0
        self.stream = self._add_stream(container, info)

    def _add_stream(self, container: OutputContainer, info: SourceInfo) -> VideoStream:
        codec, encoder = self._encoding.codec, _encoder_name(self._encoding.codec)
        options = {**self._encoding.options, **_fixed_options(codec, info.hdr)}
        rate = min(info.frame_rate, FASTEST[codec]) if codec in FASTEST else info.frame_rate
        stream = container.add_stream(encoder, rate=rate, options=options)
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = info.width, info.height, self._encoding.pixel_format
        stream.time_base = context.time_base = info.time_base
        if codec in THREADS:
            context.thread_count = THREADS[codec]
        set_picture_properties(stream, container.format.name, info, self._encoding)
        return stream

    def encode(self, frame: Frame, pts: int) -> Sequence[Packet[VideoStream]]:
        """The packets that are ready once the encoder has seen one more frame.

        Args:
            frame: of the announced size, later than the one before.
            pts: when it is shown, in ticks of the frame's time base.
        """
        picture = pixels_to_video_frame(
            frame.pixels, self._color, self._encoding.pixel_format, self._reformatter, alpha=frame.alpha
        )
        picture.pts, picture.time_base = pts, frame.time_base
        picture.duration = self._durations[pts] = frame.duration
        self._frames += 1
        self._first_duration = self._first_duration or frame.duration
        return self._timed(self.stream.encode(picture))

    def flush(self) -> Sequence[Packet[VideoStream]]:
        """The packets that are left."""
        packets = self.stream.encode(None)
        if len(packets) == self._frames:  # libx265 leaves the decoding times of very short films uninitialised
            _set_decoding_times(packets, self._first_duration)
        return self._timed(packets)

    def _timed(self, packets: Sequence[Packet[VideoStream]]) -> Sequence[Packet[VideoStream]]:
        for packet in packets:
            if packet.pts is not None and packet.time_base == self._time_base:
                packet.duration = self._durations.pop(packet.pts, packet.duration)
        return packets


def _set_decoding_times(packets: Sequence[Packet[VideoStream]], step: int) -> None:
    """As late as the order allows: each packet at the time of the picture shown when it has to be there."""
    shown = sorted(packet.pts for packet in packets if packet.pts is not None)
    depth = max(
        (place - shown.index(packet.pts) for place, packet in enumerate(packets) if packet.pts is not None), default=0
    )
    for place, packet in enumerate(packets):
        packet.dts = shown[place - depth] if place >= depth else shown[0] - (depth - place) * step


def set_picture_properties(stream: VideoStream, container_format: str, info: SourceInfo, encoding: Encoding) -> None:
    """Say in a stream how its pictures are meant: colour, shape of a pixel, rotation.

    Args:
        stream: of an output whose header is not written yet.
        container_format: FFmpeg's name.
        info: of the frames.
        encoding: how they are stored.
    """
    context = stream.codec_context
    context.sample_aspect_ratio = info.sample_aspect_ratio
    if container_format in ("mp4", "mov"):
        if encoding.codec == "hevc":
            context.codec_tag = "hvc1"  # Apple's players refuse the default, hev1
        if encoding.codec == "prores":
            context.codec_tag = PRORES_TAGS[encoding.options["profile"]]
    color, is_rgb = info.color.resolved(width=info.width, height=info.height), encoding.pixel_format in RGB_FORMATS
    context.colorspace = GBR_MATRIX if is_rgb else color.matrix
    context.color_primaries, context.color_trc = color.primaries, color.transfer
    context.color_range = ColorRange.JPEG if color.full_range or is_rgb else ColorRange.MPEG
    if info.mirroring is not None:
        stream.set_display_matrix(info.mirroring)
    elif info.rotation:
        stream.set_display_rotation(info.rotation)
    if info.stereo is not None and holds_stereo(container_format, info.stereo):
        stream.metadata[STEREO_NOTE] = info.stereo


def _encoder_name(codec: str) -> str:
    known: dict[str, Codec] = {name: name for name in CODECS}
    return CODECS[known[codec]].encoder


def _fixed_options(codec: str, hdr: HDRMetadata | None) -> dict[str, str]:
    """What is not for the user to choose: closed groups, fixed threads, silence, and the source's HDR metadata."""
    display, light = (hdr.display_option, hdr.light) if hdr is not None else (None, None)
    levels = f"{light[0]},{light[1]}" if light is not None else None
    if codec == "h264":
        # cpu-independent: without it libx264's macroblock tree differed in one run of ten, with one thread too
        return _joined(
            "x264-params", {"open-gop": "0", "cpu-independent": "1", "mastering-display": display, "cll": levels}
        )
    if codec == "hevc":
        # log-level first: x265 talks to the error stream of the whole program; info would write the processor into
        # the stream, and segments of two machines could not become one film
        params = {
            "log-level": "error",
            "info": "0",
            "open-gop": "0",
            "frame-threads": str(THREADS["hevc"]),
            "pools": "4",
        }
        return _joined("x265-params", {**params, "master-display": display, "max-cll": levels})
    if codec == "av1":
        os.environ.setdefault("SVT_LOG", "1")  # errors only; SVT-AV1 has no other way to be told
        plain = hdr.svt_display_option if hdr is not None else None
        return _joined("svtav1-params", {"mastering-display": plain, "content-light": levels})
    if codec == "vp9":
        return {"b": "0", "row-mt": "1", "deadline": "good"}  # with a bit rate the crf is only a limit
    if codec == "ffv1":
        return {"level": "3", "slices": "4", "slicecrc": "1", "g": "1"}
    return {}


def _joined(name: str, values: dict[str, str | None]) -> dict[str, str]:
    text = ":".join(f"{key}={value}" for key, value in values.items() if value is not None)
    return {name: text} if text else {}
