"""Published rows (docs/method.md, section 4) that tables show beside measured ones, for the same protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dgafvsr.evaluation.metrics import MetricName

__all__ = ["PublishedRow", "published_rows"]


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """Numbers that others have published; full clips, never recomputed here."""

    name: str
    """Method and clips."""
    values: Mapping[MetricName, float]
    """In the units of our tables; a metric that was not published is absent."""


_FRAME_METRICS: tuple[MetricName, ...] = ("psnr", "ssim", "lpips", "dists")
_ALL_METRICS: tuple[MetricName, ...] = (*_FRAME_METRICS, "tlpips", "tof")

_REDS4_CLIPS = ("000", "011", "015", "020")
_REDS4: dict[str, tuple[float, ...]] = {
    "DGAF-VSR": (28.17, 0.804, 0.095, 0.043, 3.92, 2.714),
    "StableVSR": (27.97, 0.795, 0.098, 0.045, 5.63, 2.77),
    "RVRT": (32.75, 0.911, 0.128, 0.067, 8.97, 2.72),
}
_VID4: dict[str, tuple[float, ...]] = {
    "DGAF-VSR": (24.75, 0.714, 0.175, 0.113, 17.38, 0.688),
    "StableVSR": (24.47, 0.699, 0.182, 0.116),
}
_VID4_CLIPS: dict[str, tuple[float, ...]] = {
    "calendar": (22.063, 0.7168, 0.2037, 0.1338),
    "city": (26.075, 0.6959, 0.2012, 0.1102),
    "foliage": (23.264, 0.6046, 0.1935, 0.1241),
    "walk": (27.585, 0.8384, 0.1028, 0.0825),
}


def published_rows(protocol: str, clips: Sequence[str]) -> tuple[PublishedRow, ...]:
    """What was published for these clips under this protocol.

    Args:
        protocol: the protocol's name; only the paper's protocols have rows.
        clips: names of the scored clips.

    Returns:
        Rows for the whole benchmark if all its clips are there; for a part of Vid4 the mean of DGAF-VSR's published
        clips; else nothing.
    """
    if protocol == "paper-reds4" and set(clips) == set(_REDS4_CLIPS):
        return tuple(_row(f"{name} (published)", values) for name, values in _REDS4.items())
    if protocol != "paper-vid4" or not clips or not set(clips) <= set(_VID4_CLIPS):
        return ()
    if set(clips) == set(_VID4_CLIPS):
        return tuple(_row(f"{name} (published)", values) for name, values in _VID4.items())
    chosen = [_VID4_CLIPS[clip] for clip in clips]
    means = tuple(sum(column) / len(column) for column in zip(*chosen, strict=True))
    return (_row(f"DGAF-VSR (published, {', '.join(clips)}, all frames)", means),)


def _row(name: str, values: tuple[float, ...]) -> PublishedRow:
    return PublishedRow(name=name, values=dict(zip(_ALL_METRICS, values, strict=False)))
