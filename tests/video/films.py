"""Small films of every awkward kind, made with PyAV alone so that they do not depend on what they test."""

from fractions import Fraction
from itertools import pairwise

import av
import numpy as np

WIDTH, HEIGHT = 48, 32
MILLISECOND = Fraction(1, 1000)


def pictures(count=7, height=HEIGHT, width=WIDTH):
    """T H W 3 uint8: smooth waves that move, so that every frame differs and encoders keep them well."""
    t, y, x = np.meshgrid(np.arange(count), np.arange(height), np.arange(width), indexing="ij")
    waves = [np.sin((x + 3 * t) / 7), np.cos((y - 2 * t) / 5), np.sin((x + y + 5 * t) / 9)]
    return np.stack([np.rint(127.5 + 110 * wave) for wave in waves], axis=-1).astype(np.uint8)


def _encode_sound(container, seconds, codec, rate=48000):
    stream = container.add_stream(codec, rate=rate, layout="stereo")
    size = 1024

    def packets():
        for start in range(0, round(seconds * rate), size):
            wave = (0.3 * np.sin(np.arange(start, start + size) / 17)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            yield from stream.encode(frame)
        yield from stream.encode(None)

    return packets


def write_film(
    path,
    frames,
    *,
    pts=None,
    time_base=Fraction(1, 24),
    rate=Fraction(24),
    codec="libx264",
    pixel_format="yuv420p",
    options=None,
    sound_seconds=0,
    sound_codec="aac",
    container_format=None,
    container_options=None,
    rotation=0,
    mirrored=False,
    aspect=None,
    notes=None,
):
    """A film of `frames` (T H W 3 uint8), shown at `pts` ticks of `time_base` (default: one tick a frame)."""
    pts = list(range(len(frames))) if pts is None else pts
    gaps = [b - a for a, b in pairwise(pts)]
    with av.open(str(path), "w", format=container_format, container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = time_base
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        stream.metadata.update(notes or {})
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        sound = _encode_sound(container, sound_seconds, sound_codec) if sound_seconds else None
        for index, pixels in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = pts[index], time_base
            picture.duration = gaps[min(index, len(gaps) - 1)] if gaps else 1
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if sound:
            container.mux(list(sound()))
    return path


def sound_of(path):
    """For each sound stream: (pts in seconds, payload) of every packet."""
    with av.open(str(path)) as container:
        return [
            [(packet.pts * packet.time_base, bytes(packet)) for packet in container.demux(audio=k) if packet.size]
            for k in range(len(container.streams.audio))
        ]


def times_of(path):
    """Pts of every picture in seconds, sorted, and the average rate, as FFmpeg reads them."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = sorted(packet.pts * packet.time_base for packet in container.demux(stream) if packet.size)
        return times, stream.average_rate, stream.time_base


def listing(folder):
    """Every name in a folder, hidden ones too, with its bytes."""
    return {entry.name: entry.read_bytes() if entry.is_file() else None for entry in folder.iterdir()}


def add_streams(film, path, *, subtitles=None, subtitle_codec="subrip", chapters=(), attachment=None, notes=None):
    """The film again, its packets copied, with more beside it: texts as (start ms, duration ms, text), chapters as
    (start ms, end ms, title), an attachment as (name, MIME type, bytes), notes as metadata of the file."""
    with av.open(str(film)) as source, av.open(str(path), "w") as target:
        target.metadata.update(notes or {})
        streams = {each.index: target.add_stream_from_template(each, opaque=True) for each in source.streams}
        if subtitles:
            words = target.add_mux_stream(subtitle_codec)
            words.time_base = MILLISECOND
            words.metadata["language"] = "deu"
            words.metadata["title"] = "für alle"
        if attachment:
            target.add_attachment(*attachment)
        target.set_chapters(
            [
                {"id": k, "start": a, "end": b, "time_base": MILLISECOND, "metadata": {"title": title}}
                for k, (a, b, title) in enumerate(chapters)
            ]
        )
        for start, duration, text in subtitles or ():
            packet = av.Packet(text.encode())
            packet.stream, packet.time_base = words, MILLISECOND
            packet.pts = packet.dts = start
            packet.duration = duration
            target.mux(packet)
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
    return path


def write_coded(path, frames, layout, *, codec="ffv1", options=None, context=None, frame_options=None):
    """A film of pictures that are given as they are stored: each a list of planes (H W arrays) in `layout`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24, options=options or {})
        stream.height, stream.width = frames[0][0].shape
        stream.pix_fmt = layout
        stream.codec_context.time_base = Fraction(1, 24)
        for name, value in (context or {}).items():
            setattr(stream.codec_context, name, value)
        for index, planes in enumerate(frames):
            picture = av.VideoFrame(stream.width, stream.height, layout)
            for plane, codes in zip(picture.planes, planes, strict=True):
                rows = np.frombuffer(plane, codes.dtype).reshape(plane.height, -1)
                rows[:, : plane.width] = codes
            for name, value in (frame_options or {}).items():
                setattr(picture, name, value)
            picture.pts, picture.time_base = index, Fraction(1, 24)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def coded_of(path):
    """Every picture as it is stored: lists of planes."""
    with av.open(str(path)) as container:
        pictures = []
        for picture in container.decode(video=0):
            kind = np.uint16 if picture.format.components[0].bits > 8 else np.uint8
            pictures.append(
                [
                    np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width].copy()
                    for plane in picture.planes
                ]
            )
        return pictures
