import math

import numpy as np
import pytest
from PIL import Image

from dgafvsr.errors import OutputError
from dgafvsr.evaluation.plots import Bars, Curve, Panel, Strip, Tile, save_plot, save_sheet, save_strips

pytest.importorskip("matplotlib")


def pixels_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_plot_is_a_picture_and_leaves_nothing_else(tmp_path):
    curves = (Curve(name="a", points=((1, 2), (2, 3))), Curve(name="b", points=((1, 1),), dashed=True))
    panels = [[Panel(title="t", x_label="s", curves=curves)] * 2]
    save_plot(panels, tmp_path / "p.png")
    height, width, _ = pixels_of(tmp_path / "p.png").shape
    assert width > height
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
    with pytest.raises(OutputError):
        save_plot(panels, tmp_path / "p.png")


def test_bars_take_what_is_no_number_and_rows_may_be_short(tmp_path):
    bars = (Bars(name="a", heights=(1.0, math.nan)), Bars(name="b", heights=(2.0, 3.0)))
    panel = Panel(title="t", bars=bars, groups=("x", "mean"), levels={"published": 2.5})
    save_plot([[panel, panel], [panel]], tmp_path / "p.png")
    drawn = pixels_of(tmp_path / "p.png")
    below, right = drawn.shape[0] // 2, drawn.shape[1] * 3 // 4
    assert (drawn[below + 60 : -80, right:] == 255).all()  # no fourth panel


def test_strips_show_their_colors_in_order(tmp_path):
    red, blue = np.zeros((3, 8, 3)), np.zeros((3, 8, 3))
    red[..., 0], blue[..., 2] = 1, 1
    save_strips([Strip(name="a", pixels=red), Strip(name="b", pixels=blue)], tmp_path / "s.png")
    drawn = pixels_of(tmp_path / "s.png")
    middle = drawn[:, drawn.shape[1] // 2]
    reds, blues = ((middle == color).all(1).nonzero()[0] for color in ((255, 0, 0), (0, 0, 255)))
    assert len(reds) > 20
    assert reds.max() < blues.min()


def test_sheet_scales_grey_between_its_limits(tmp_path):
    ramp = np.linspace(-1, 1, 64).reshape(8, 8)
    save_sheet([[Tile(name="a", pixels=ramp, limits=(5.0, 6.0))]], tmp_path / "s.png")
    drawn = pixels_of(tmp_path / "s.png")
    assert (drawn[drawn.shape[0] // 2, drawn.shape[1] // 2] == 0).all()  # below the limits: black
