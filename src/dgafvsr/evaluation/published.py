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


_COLUMNS: tuple[MetricName, ...] = (
    "psnr", "ssim", "lpips", "dists", "musiq", "clipiqa", "niqe", "tlpips", "tof",
)  # fmt: skip

_REDS4_CLIPS = ("000", "011", "015", "020")
_REDS4: dict[str, tuple[float | None, ...]] = {
    "DGAF-VSR": (28.17, 0.804, 0.095, 0.043, 67.90, 0.429, 2.66, 3.92, 2.714),
    "StableVSR": (27.97, 0.795, 0.098, 0.045, 67.62, None, None, 5.63, 2.77),
    "RVRT": (32.75, 0.911, 0.128, 0.067, 67.46, None, None, 8.97, 2.72),
}
_VID4: dict[str, tuple[float | None, ...]] = {
    "DGAF-VSR": (24.75, 0.714, 0.175, 0.113, 67.95, 0.470, 3.10, 17.38, 0.688),
    "StableVSR": (24.47, 0.699, 0.182, 0.116, 67.20),
}
_VID4_CLIPS: dict[str, tuple[float, ...]] = {
    "calendar": (22.063, 0.7168, 0.2037, 0.1338),
    "city": (26.075, 0.6959, 0.2012, 0.1102),
    "foliage": (23.264, 0.6046, 0.1935, 0.1241),
    "walk": (27.585, 0.8384, 0.1028, 0.0825),
}
_VIDEOLQ_CLIPS = tuple(f"{index:03d}" for index in range(50))
_VIDEOLQ: dict[str, tuple[float | None, ...]] = {
    "DGAF-VSR": (None, None, None, None, 59.05, 0.498),
    "STAR": (None, None, None, None, 54.59, 0.313),
}


def published_rows(protocol: str, clips: Sequence[str], *, truth: bool = True) -> tuple[PublishedRow, ...]:
    """What was published for these clips under this protocol.

    Args:
        protocol: the protocol's name; only the paper's protocols have rows, and without truth the standard one. With
            another flow estimator (`paper-vid4, dis flow`) tOF is left out.
        clips: names of the scored clips.
        truth: whether there is ground truth.

    Returns:
        Rows for the whole benchmark if all its clips are there; for a part of Vid4 the mean of DGAF-VSR's published
        clips; else nothing.
    """
    name, _, change = protocol.partition(", ")
    if change and not (change.endswith(" flow") and "," not in change):
        return ()
    rows = _rows(name, clips, truth=truth)
    left_out = {"tof"} if change else set()
    return tuple(
        PublishedRow(name=row.name, values={key: row.values[key] for key in row.values if key not in left_out})
        for row in rows
    )


def _rows(protocol: str, clips: Sequence[str], *, truth: bool) -> tuple[PublishedRow, ...]:
    if not truth:
        whole = protocol == "standard" and set(clips) == set(_VIDEOLQ_CLIPS)
        return _named(_VIDEOLQ) if whole else ()
    if protocol == "paper-reds4":
        return _named(_REDS4) if set(clips) == set(_REDS4_CLIPS) else ()
    if protocol != "paper-vid4" or not clips or not set(clips) <= set(_VID4_CLIPS):
        return ()
    if set(clips) == set(_VID4_CLIPS):
        return _named(_VID4)
    chosen = [_VID4_CLIPS[clip] for clip in clips]
    means = tuple(sum(column) / len(column) for column in zip(*chosen, strict=True))
    return (_row(f"DGAF-VSR (published, {', '.join(clips)}, all frames)", means),)


def _named(table: Mapping[str, tuple[float | None, ...]]) -> tuple[PublishedRow, ...]:
    return tuple(_row(f"{name} (published)", values) for name, values in table.items())


def _row(name: str, values: Sequence[float | None]) -> PublishedRow:
    pairs = zip(_COLUMNS, values, strict=False)
    return PublishedRow(name=name, values={metric: value for metric, value in pairs if value is not None})
