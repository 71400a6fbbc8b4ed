"""A contact sheet of two films (and a reference): crops of the places where the two differ most, side by side.

One row is one place: the same pixels of each film, enlarged by whole factors without smoothing, with the frame, the
position and how much the two differ there. Nothing has to be slid or flickered to be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["Place", "PlaceFinder", "draw_label", "draw_sheet"]

Picture = NDArray[np.uint8]
"""H W 3, RGB, in [0, 255]."""

ROWS = 6
SHORTEST_CROP = 32
CROP_SIDE = 256
"""Side of a crop in the sheet, about, in pixels."""
APART_SECONDS = 1
MARGIN, TEXT_SIZE = 8, 15
INK, PAPER = (20, 20, 20), (255, 255, 255)


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """A square of a frame, as each of the films shows it."""

    frame: int
    """Index of the frame."""
    seconds: Fraction
    """When it is shown."""
    x: int
    """Column of the square's first pixel."""
    y: int
    """Row of the square's first pixel."""
    difference: float
    """Mean absolute difference of the two films' brightness in the square, of 255."""
    crops: tuple[Picture, ...]
    """The square of each film, in order."""


class PlaceFinder:
    """Finds, in one pass, the places where two films differ most; holds no frame, only the crops of the best places.

    Two places of one sheet are at least a second apart or do not overlap.

    Args:
        width: columns of pixels of the films.
        height: rows of pixels.
    """

    def __init__(self, *, width: int, height: int) -> None:
        self._side = min(width, height, max(SHORTEST_CROP, min(width, height) // 5))
        self._found: list[Place] = []

    @property
    def places(self) -> tuple[Place, ...]:
        """At most ROWS places, in the order of the film."""
        return tuple(sorted(self._found, key=lambda place: (place.frame, place.y, place.x)))

    def look(self, frame: int, seconds: Fraction, pictures: Sequence[Picture]) -> None:
        """Take the next frame.

        Args:
            frame: its index.
            seconds: when it is shown.
            pictures: of the two films, then of others that are only to be shown.
        """
        # In float and in one fixed order, so that equal films give the same sheet everywhere.
        bright = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) for picture in pictures[:2]]
        side = self._side
        means = cv2.boxFilter(np.abs(bright[0] - bright[1]), -1, (side, side), anchor=(0, 0))
        rows, columns = means.shape[0] - side + 1, means.shape[1] - side + 1
        y, x = (int(each) for each in np.unravel_index(int(means[:rows, :columns].argmax()), (rows, columns)))
        difference = float(means[y, x])
        rivals = [place for place in self._found if self._is_near(place, seconds, x, y)]
        if any(rival.difference >= difference for rival in rivals):
            return
        others = [place for place in self._found if not self._is_near(place, seconds, x, y)]
        if len(others) == ROWS:
            weakest = min(others, key=lambda place: place.difference)
            if weakest.difference >= difference:
                return
            others.remove(weakest)
        crops = tuple(picture[y : y + side, x : x + side].copy() for picture in pictures)
        new = Place(frame=frame, seconds=seconds, x=x, y=y, difference=difference, crops=crops)
        self._found = [*others, new]

    def _is_near(self, place: Place, seconds: Fraction, x: int, y: int) -> bool:
        overlaps = abs(place.x - x) < self._side and abs(place.y - y) < self._side
        return overlaps and abs(place.seconds - seconds) < APART_SECONDS


def draw_sheet(places: Sequence[Place], labels: Sequence[str]) -> Image.Image:
    """The sheet as a picture: a column for each film, a row for each place.

    Args:
        places: at least one.
        labels: the name of each film, in the order of the crops.
    """
    side = places[0].crops[0].shape[0]
    shown = side * max(1, round(CROP_SIDE / side))
    line = TEXT_SIZE + MARGIN
    sheet = Image.new(
        "RGB", (MARGIN + len(labels) * (shown + MARGIN), line + MARGIN + len(places) * (line + shown + MARGIN)), PAPER
    )
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_SIZE)
    for column, label in enumerate(labels):
        pen.text((MARGIN + column * (shown + MARGIN), MARGIN), _fitting(label, shown, font), INK, font=font)
    for row, place in enumerate(places):
        top = line + MARGIN + row * (line + shown + MARGIN)
        text = (
            f"frame {place.frame}, {float(place.seconds):.2f} s, at x {place.x} y {place.y}: "
            f"differ by {place.difference:.1f} of 255"
        )
        pen.text((MARGIN, top), text, INK, font=font)
        for column, crop in enumerate(place.crops):
            picture = Image.fromarray(crop).resize((shown, shown), Image.Resampling.NEAREST)
            sheet.paste(picture, (MARGIN + column * (shown + MARGIN), top + line))
    return sheet


def _fitting(text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    while len(text) > 1 and font.getlength(text) > width:
        text = f"{text.rstrip('…')[:-1]}…"
    return text


def draw_label(picture: Picture, text: str, *, right: bool = False) -> Picture:
    """The picture with a name in its upper left corner, or upper right one, on a dark ground.

    Args:
        picture: to be drawn on; it is not changed.
        text: the name.
        right: whether it stands at the right.
    """
    size = max(10, picture.shape[0] // 24)
    image, font = Image.fromarray(picture), ImageFont.load_default(size)
    pen, padding = ImageDraw.Draw(image), size // 2
    text = _fitting(text, picture.shape[1] // 2 - 3 * padding, font)
    width = pen.textlength(text, font=font) + 2 * padding
    left = picture.shape[1] - width if right else 0
    pen.rectangle((left, 0, left + width, size + 2 * padding), fill=INK)
    pen.text((left + padding, padding), text, PAPER, font=font)
    return np.asarray(image)
