import math
from dataclasses import replace

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


def test_legend_names_what_only_a_later_panel_has(tmp_path):
    bars = (Bars(name="a", heights=(1.0, 2.0)),)
    plain, level = Panel(title="t", bars=bars, groups=("x", "mean")), {"published": 1.5}
    sizes = []
    for index, panels in enumerate(([plain, plain], [plain, replace(plain, levels=level)])):
        save_plot([panels], tmp_path / f"{index}.png")
        below = pixels_of(tmp_path / f"{index}.png")[-30:]
        sizes.append((below < 200).any(axis=2).sum())
    assert sizes[1] > 1.3 * sizes[0]


def test_levels_cross_the_last_group_only(tmp_path):
    bars = (Bars(name="a", heights=(4.0, 4.0, 4.0)),)
    panel = Panel(title="t", bars=bars, groups=("x", "y", "mean"), levels={"published": 8.0})
    save_plot([[panel]], tmp_path / "p.png")
    drawn = pixels_of(tmp_path / "p.png")[:-60]
    orange = (abs(drawn - (255, 127, 14)) < 30).all(axis=2)
    columns = orange.any(axis=0).nonzero()[0]
    assert columns.min() > 0.6 * drawn.shape[1]


def test_many_groups_keep_their_names_apart(tmp_path):
    names = tuple(f"clip{index:03d}" for index in range(20))
    panel = Panel(title="t", bars=(Bars(name="a", heights=tuple(range(20))),), groups=names)
    save_plot([[panel]], tmp_path / "p.png")
    drawn = pixels_of(tmp_path / "p.png")
    height = drawn.shape[0]
    labels = (drawn[height * 3 // 4 : -40] < 128).any(axis=2)
    assert labels.any(axis=1).sum() > 30  # upright names are much higher than a line of text


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
