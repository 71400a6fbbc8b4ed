from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from dgafvsr.errors import InputError, OutputError, UsageError
from dgafvsr.jobs import compare
from dgafvsr.jobs.compare import CompareSettings, compare_films, lay_out
from dgafvsr.jobs.contact_sheet import PlaceFinder, draw_sheet
from dgafvsr.video.atomic import PendingFolder
from dgafvsr.video.codecs import EncoderSettings
from dgafvsr.video.limits import InputLimits
from dgafvsr.video.reader import open_source
from tests.jobs.standins import enlarged, lossless, pixels_of
from tests.video.films import HEIGHT, WIDTH, listing, pictures, sound_of, times_of, write_film
from tests.video.test_deinterlacing import interlaced_film

FRAMES = enlarged(pictures(5))
TALL, WIDE = 4 * HEIGHT, 4 * WIDTH


def changed(frames):
    """A square of 20 pixels of frame 3 is lighter."""
    other = frames.copy()
    other[3, 60:80, 100:120] = np.minimum(other[3, 60:80, 100:120].astype(int) + 60, 255)
    return other


def write_pictures(folder, frames):
    folder.mkdir()
    for index, pixels in enumerate(frames):
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    return folder


@pytest.fixture
def films(tmp_path):
    return lossless(tmp_path / "a.mkv", FRAMES), lossless(tmp_path / "b.mkv", changed(FRAMES))


@pytest.mark.parametrize(
    ("layout", "shape"), [("side", (TALL, 2 * WIDE)), ("stack", (2 * TALL, WIDE)), ("split", (TALL, WIDE))]
)
def test_layouts_hold_both_films(films, tmp_path, layout, shape):
    settings = CompareSettings(layout=layout, encoder=EncoderSettings(codec="ffv1"))
    summary = compare_films(*films, tmp_path / "out.mkv", settings)
    made = pixels_of(tmp_path / "out.mkv")
    assert (summary.frames, made.shape[1:3]) == (5, shape)
    low = slice(TALL // 4, TALL)  # below the labels
    if layout == "side":
        np.testing.assert_array_equal(made[:, low, :WIDE], FRAMES[:, low])
        np.testing.assert_array_equal(made[:, low, WIDE:], changed(FRAMES)[:, low])
    elif layout == "stack":
        np.testing.assert_array_equal(made[:, TALL:][:, low], changed(FRAMES)[:, low])
    else:
        np.testing.assert_array_equal(made[:, low, WIDE // 2 + 1 :], changed(FRAMES)[:, low, WIDE // 2 + 1 :])
        assert (made[:, low, WIDE // 2] == 255).all()


def test_labels_are_drawn_into_copies():
    first, second = FRAMES[0], FRAMES[1]
    before = first.copy()
    both = lay_out(first, second, "side", ("input", "dgafvsr, a name that is far too long for this picture"))
    np.testing.assert_array_equal(first, before)
    assert (both[:12, :12] != first[:12, :12]).any()
    assert both.shape == (TALL, 2 * WIDE, 3)


def test_smaller_film_is_enlarged_and_times_and_sound_are_the_first(tmp_path):
    small = write_film(tmp_path / "a.mp4", pictures(5), sound_seconds=0.2)
    large = lossless(tmp_path / "b.mkv", FRAMES)
    compare_films(small, large, tmp_path / "out.mp4")
    assert pixels_of(tmp_path / "out.mp4").shape[1:3] == (TALL, 2 * WIDE)
    assert times_of(tmp_path / "out.mp4")[0] == times_of(small)[0]
    assert sound_of(tmp_path / "out.mp4") == sound_of(small)


def test_sheet_shows_the_most_different_place_first_of_all(films, tmp_path):
    summary = compare_films(*films, tmp_path / "out", CompareSettings(sheet=tmp_path / "s.png", reference=films[0]))
    assert summary.sheet == tmp_path / "s.png"
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 3 * 256
    finder = PlaceFinder(width=WIDE, height=TALL)
    for index, (a, b) in enumerate(zip(FRAMES, changed(FRAMES), strict=True)):
        finder.look(index, Fraction(index), (a, b))
    best = max(finder.places, key=lambda place: place.difference)
    assert best.frame == 3
    side = best.crops[0].shape[0]
    assert best.x <= 100 <= 120 <= best.x + side
    assert best.y <= 60 <= 80 <= best.y + side
    np.testing.assert_array_equal(best.crops[1], changed(FRAMES)[3, best.y : best.y + side, best.x : best.x + side])


def test_places_are_apart_and_few():
    rng = np.random.default_rng(0)
    finder = PlaceFinder(width=160, height=120)
    for index in range(40):
        pair = rng.integers(0, 256, (2, 120, 160, 3), dtype=np.uint8)
        finder.look(index, Fraction(index, 10), tuple(pair))
    places = finder.places
    assert 1 < len(places) <= 6
    side = places[0].crops[0].shape[0]
    for a in places:
        for b in places:
            near = abs(a.seconds - b.seconds) < 1 and abs(a.x - b.x) < side and abs(a.y - b.y) < side
            assert a is b or not near
    assert draw_sheet(places, ["a", "b"]).height > len(places) * 100


def test_shorter_film_ends_the_comparison_and_is_named(tmp_path):
    a, b = lossless(tmp_path / "a.mkv", pictures(5)), lossless(tmp_path / "b.mkv", pictures(3))
    summary = compare_films(a, b, tmp_path / "out")
    assert summary.frames == 3
    assert "b.mkv ends after 3 frames" in summary.warnings[0]


@pytest.mark.parametrize(
    "wrong",
    [{"layout": "wipe"}, {"labels": ("a",)}, {"reference": "r.mkv"}, {"sheet": "s.jpg"}],
)
def test_settings_out_of_range_are_refused(wrong, tmp_path):
    paths = {name: tmp_path / value if name in ("reference", "sheet") else value for name, value in wrong.items()}
    with pytest.raises(UsageError):
        replace(CompareSettings(), **paths)


def test_films_of_other_shapes_are_refused_and_nothing_remains(films, tmp_path):
    other = lossless(tmp_path / "c.mkv", pictures(5, 48, 48))
    before = listing(tmp_path)
    with pytest.raises(InputError, match="another shape"):
        compare_films(films[0], other, tmp_path / "out.mkv", CompareSettings(sheet=tmp_path / "s.png"))
    assert listing(tmp_path) == before


@pytest.mark.parametrize("name", ["a.mkv", "old.mp4"])
def test_nothing_is_overwritten(films, tmp_path, name):
    (tmp_path / "old.mp4").write_text("dear")
    before = listing(tmp_path)
    with pytest.raises(OutputError):
        compare_films(*films, tmp_path / name, CompareSettings(sheet=tmp_path / "s.png"))
    assert listing(tmp_path) == before


def test_sound_ends_with_the_shorter_film(tmp_path):
    long = write_film(tmp_path / "long.mp4", pictures(48), sound_seconds=2)
    preview = write_film(tmp_path / "preview.mp4", pictures(6))
    summary = compare_films(long, preview, tmp_path / "both.mp4")
    assert (summary.frames, len(summary.warnings)) == (6, 1)
    sound = sound_of(tmp_path / "both.mp4")[0]
    assert sound == sound_of(long)[0][: len(sound)]
    assert Fraction(6, 24) - Fraction(1024, 48000) <= sound[-1][0] <= Fraction(6, 24)


@pytest.mark.parametrize("layout", ["side", "split", "stack"])
@pytest.mark.parametrize("mark", [{"rotation": 90}, {"rotation": 180}, {"mirrored": True}])
def test_marked_film_beside_an_upright_one_is_shown_upright(tmp_path, layout, mark):
    upright = np.ascontiguousarray(
        FRAMES[:, :, ::-1] if "mirrored" in mark else np.rot90(FRAMES, mark["rotation"] // 90, axes=(1, 2))
    )
    films = [lossless(tmp_path / "a.mkv", FRAMES, **mark), lossless(tmp_path / "b.mkv", upright)]
    settings = CompareSettings(layout=layout, labels=("x", "x"), encoder=EncoderSettings(codec="ffv1"))
    for index, pair in enumerate((films, films[::-1], (films[0], films[0]))):
        compare_films(*pair, tmp_path / f"{index}.mkv", settings)
        with open_source(tmp_path / f"{index}.mkv") as both:
            assert (both.info.rotation, both.info.mirroring) == (0, None)
        expected = [lay_out(frame, frame, layout, ("x", "x")) for frame in upright]
        np.testing.assert_array_equal(pixels_of(tmp_path / f"{index}.mkv"), expected)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("in/a.mkv", "in/b.mkv"), ("a", "b")),
        (("in/a.mkv", "out/a.mp4"), ("a.mkv", "a.mp4")),
        (("in/a.mkv", "out/a.mkv"), ("in/a.mkv", "out/a.mkv")),
        (("in/a.mkv", "in/a.mkv"), ("first", "second")),
    ],
)
def test_films_are_called_by_what_tells_them_apart(tmp_path, monkeypatch, names, labels):
    drawn = []
    monkeypatch.setattr(compare, "lay_out", lambda a, b, layout, names: drawn.append(names) or a)
    for name in sorted(set(names)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        lossless(tmp_path / name, pictures(1))
    compare_films(tmp_path / names[0], tmp_path / names[1], tmp_path / "made", CompareSettings(layout="split"))
    assert drawn == [labels]


@pytest.mark.parametrize("role", ["target", "sheet"])
@pytest.mark.parametrize("kind", ["itself", "link", "hard link", "around", "within", "reference"])
def test_no_output_replaces_or_touches_an_input(tmp_path, role, kind):
    inputs = tmp_path / "in"
    inputs.mkdir()
    film, folder = lossless(inputs / "a.mkv", FRAMES[:2]), write_pictures(inputs / "b", FRAMES[:2])
    reference = write_pictures(tmp_path / "truth", FRAMES[:2])
    names = {"itself": film, "around": inputs, "within": folder / "new.png", "reference": reference / "new.png"}
    output = names.get(kind, tmp_path / "link")
    if kind == "link":
        output.symlink_to(film)
    elif kind == "hard link":
        output.hardlink_to(film)
    if role == "sheet":
        named = tmp_path / "s.png"
        if output.suffix != ".png":
            named.symlink_to(output)
        output = named if named.is_symlink() else output
    settings = CompareSettings(
        overwrite=True, reference=reference, sheet=output if role == "sheet" else tmp_path / "sheet.png"
    )
    before = {place: listing(place) for place in (tmp_path, inputs, folder, reference)}
    with pytest.raises(OutputError, match="input"):
        compare_films(film, folder, output if role == "target" else tmp_path / "out.mkv", settings)
    assert {place: listing(place) for place in before} == before


@pytest.mark.parametrize("sheet", ["out", "out/s.png", "s.png"])
def test_sheet_and_video_are_kept_apart(films, tmp_path, sheet):
    target = tmp_path / ("s.png" if sheet == "s.png" else "out")
    sheet = tmp_path / sheet if sheet != "out" else tmp_path / "out" / ".." / "out" / "s.png"
    with pytest.raises((OutputError, UsageError)):
        compare_films(*films, target, CompareSettings(sheet=sheet, overwrite=True))
    assert not target.exists()


def test_limits_and_damage_are_met_as_elsewhere_and_told_with_the_films_name(tmp_path):
    film, folder = lossless(tmp_path / "a.mkv", FRAMES[:3]), write_pictures(tmp_path / "b", FRAMES[:4])
    with pytest.raises(InputError, match="--max-frames"):
        compare_films(film, folder, tmp_path / "out", CompareSettings(limits=InputLimits(frames=2)))
    (folder / "001.png").write_text("no picture")
    with pytest.raises(InputError, match=r"001\.png cannot be read"):
        compare_films(film, folder, tmp_path / "out")
    summary = compare_films(film, folder, tmp_path / "out", CompareSettings(on_error="skip-damaged"))
    assert summary.frames == 3
    told, apart = summary.warnings
    assert told == f"{folder}: 001.png cannot be read and is left out"
    assert apart.startswith(f"frame 1 is at 0.042 s in {film} and at 0.083 s in {folder}")


@pytest.mark.parametrize("rate", [24, 25])
def test_frames_of_other_moments_are_told_unless_the_rates_differ(tmp_path, rate):
    count, lost = 60, 20
    whole = write_film(tmp_path / "a.mkv", pictures(count))
    kept = np.delete(pictures(count), lost, axis=0)
    pts = [k for k in range(count) if k != lost]
    other = write_film(tmp_path / "b.mkv", kept, pts=pts, rate=Fraction(rate), time_base=Fraction(1, rate))
    summary = compare_films(whole, other, tmp_path / "out.mkv")
    assert summary.frames == count - 1
    begin = f"frame {lost} is at 0.833 s in {whole} and at 0.875 s"
    told = [note for note in summary.warnings if note.startswith(begin)]
    assert len(told) == (rate == 24)
    assert any("ends after 59 frames" in note for note in summary.warnings)
    assert compare_films(whole, whole, tmp_path / "same.mkv").warnings == ()


def test_film_with_a_name_of_one_letter_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (write_pictures(tmp_path / "a", FRAMES[:3]) / "001.png").write_text("no picture")
    summary = compare_films("a", "a", "out", CompareSettings(on_error="skip-damaged"))
    assert summary.warnings == ("a: 001.png cannot be read and is left out",)


def test_only_interlaced_films_are_deinterlaced(tmp_path):
    film = interlaced_film(tmp_path / "a.mp4")
    with open_source(film, deinterlace=True) as source:
        whole = np.stack([frame.pixels for frame in source])
    made = lossless(tmp_path / "b.mkv", whole)
    with pytest.raises(InputError, match="interlaced"):
        compare_films(film, made, tmp_path / "out")
    summary = compare_films(film, made, tmp_path / "out", CompareSettings(deinterlace=True, labels=("", "")))
    left, right = np.split(pixels_of(summary.output), 2, axis=2)
    np.testing.assert_array_equal(left, right)


def test_video_that_cannot_get_its_name_leaves_no_sheet(films, tmp_path, monkeypatch):
    def refuse(pending):
        raise OutputError("no")

    before = listing(tmp_path)
    monkeypatch.setattr(PendingFolder, "publish", refuse)
    with pytest.raises(OutputError):
        compare_films(*films, tmp_path / "out", CompareSettings(sheet=tmp_path / "s.png"))
    assert listing(tmp_path) == before
