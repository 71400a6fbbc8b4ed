"""The size of the result, and the reduction to it.

The model enlarges by four. Any other size is made of that by an antialiased Lanczos reduction in float, before the
pictures are rounded to the depth of the output.

The rules:
- The shape of the picture stays. With `width` or `height` the other side follows from it; `box` gives the largest
  picture of the film's shape that fits; bars are never drawn and nothing is cut off.
- Sizes count pixels as they are stored, turned as players show them: `height` of a film with a rotation of 90 degrees
  is what a viewer calls its height. A sample aspect ratio is passed on and changes nothing here.
- A side that follows from another is rounded, to an even number where the output stores colour at half the
  resolution (4:2:0) or needs even sides for another reason. A side that was asked for is not changed: an odd one is
  refused there.
- No side becomes larger than four times the source, and the result is larger than the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dgafvsr.errors import UsageError
from dgafvsr.jobs.upscaler import SCALE
from dgafvsr.video.frames import SourceInfo

__all__ = ["OutputSize", "PictureSize", "resize"]

QUARTER_TURNS = (90, 270)


@dataclass(frozen=True, kw_only=True)
class PictureSize:
    """Columns and rows of pixels, as stored."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, kw_only=True)
class OutputSize:
    """How large the result is to be; at most one of the fields is given, none means four times the source.

    Raises:
        UsageError: more than one is given, or one is out of its range.
    """

    scale: Fraction | None = None
    """Times the source, above 1 and at most 4."""
    width: int | None = None
    """Columns of the picture as shown, at least 1."""
    height: int | None = None
    """Rows of the picture as shown, at least 1."""
    box: tuple[int, int] | None = None
    """Columns and rows, as shown, that the picture fits into and reaches in at least one direction."""

    def __post_init__(self) -> None:
        given = [f"--{'size' if name == 'box' else name}" for name, value in self._asked().items() if value is not None]
        if len(given) > 1:
            raise UsageError("The size is asked for twice", got=" and ".join(given), remedy="leave one of them out")
        if self.scale is not None and not 1 < self.scale <= SCALE:
            raise UsageError("The scale is out of range", got=float(self.scale), expected=f"above 1, at most {SCALE}")
        if any(side is not None and side < 1 for side in (self.width, self.height, *(self.box or ()))):
            raise UsageError("The size is impossible", got=self.asked_text, expected="sides of at least 1 pixel")

    def _asked(self) -> Mapping[str, Any]:
        return {"scale": self.scale, "width": self.width, "height": self.height, "box": self.box}

    @property
    def asked_text(self) -> str:
        """What was asked for, in words."""
        if self.box is not None:
            return f"{self.box[0]}x{self.box[1]}"
        parts = [f"{name} {value}" for name, value in self._asked().items() if value is not None]
        return parts[0] if parts else f"scale {SCALE}"

    def of(self, info: SourceInfo, *, even: bool) -> PictureSize:
        """The size of the pictures that become of a film.

        Args:
            info: of the film.
            even: whether the output needs sides of even length.

        Raises:
            UsageError: no larger than the film, more than four times as large, or odd where that cannot be.
        """
        turned = info.rotation % 360 in QUARTER_TURNS
        shown = (info.height, info.width) if turned else (info.width, info.height)
        width, height = self._shown(*shown, step=2 if even else 1)
        self._check(shown, (width, height))
        return PictureSize(width=height, height=width) if turned else PictureSize(width=width, height=height)

    def _shown(self, width: int, height: int, *, step: int) -> tuple[int, int]:
        def follow(side: int, ratio: Fraction) -> int:
            return max(step, step * round(side * ratio / step))

        if self.width is not None:
            self._check_even(self.width, step)
            return self.width, follow(height, Fraction(self.width, width))
        if self.height is not None:
            self._check_even(self.height, step)
            return follow(width, Fraction(self.height, height)), self.height
        if self.box is not None:
            ratio = min(Fraction(self.box[0], width), Fraction(self.box[1], height))
            fitting = ((follow(width, ratio), self.box[0]), (follow(height, ratio), self.box[1]))
            within = [side if side <= limit else side - step for side, limit in fitting]
            return within[0], within[1]
        factor = Fraction(SCALE) if self.scale is None else self.scale
        return follow(width, factor), follow(height, factor)

    def _check_even(self, side: int, step: int) -> None:
        if side % step:
            raise UsageError(
                "The output cannot hold pictures of an odd size",
                got=self.asked_text,
                expected="an even number",
                remedy=f"ask for {side + 1}, or write a folder of pictures",
            )

    def _check(self, source: tuple[int, int], wanted: tuple[int, int]) -> None:
        source_text, wanted_text = (f"{width}x{height}" for width, height in (source, wanted))
        if wanted[0] <= source[0] or wanted[1] <= source[1]:
            raise UsageError(
                f"The film is already as large as the size that was asked for: it has {source_text}",
                got=self.asked_text,
                expected="a larger size than the film's",
                remedy="there is nothing to enlarge; use the film as it is, or ask for more",
            )
        if wanted[0] > SCALE * source[0] or wanted[1] > SCALE * source[1]:
            raise UsageError(
                f"{self.asked_text} is more than {SCALE} times the film's {source_text}",
                got=wanted_text,
                expected=f"at most {SCALE * source[0]}x{SCALE * source[1]}",
                remedy="ask for less, or upscale the result once more",
            )

    def notes(self, made: PictureSize, info: SourceInfo) -> tuple[str, ...]:
        """One sentence where the result does not fill the box that was asked for.

        Args:
            made: what `of` gave.
            info: of the film.
        """
        shown = (made.height, made.width) if info.rotation % 360 in QUARTER_TURNS else (made.width, made.height)
        if self.box is None or shown == self.box:
            return ()
        return (f"the film's shape fits into {self.asked_text} as {shown[0]}x{shown[1]}; nothing was cut or stretched",)


def resize(picture: NDArray[Any], size: PictureSize) -> NDArray[np.float32]:
    """A picture at another size, by an antialiased Lanczos filter (three lobes) in float; H W or H W C, in [0, 1].

    Pixel centres are at half-integers in both, as everywhere in Pillow. What the filter overshoots is clamped. A
    picture that has the size already is given back as it is.

    Args:
        picture: H W or H W C float in [0, 1].
        size: of the result.
    """
    values = picture.astype(np.float32, copy=False)
    if values.shape[:2] == (size.height, size.width):
        return values
    planes = [values] if values.ndim == 2 else [values[..., channel] for channel in range(values.shape[2])]
    wanted = (size.width, size.height)
    resized = [
        np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(wanted, Image.Resampling.LANCZOS))
        for plane in planes
    ]
    return np.clip(resized[0] if values.ndim == 2 else np.stack(resized, axis=-1), 0, 1)
