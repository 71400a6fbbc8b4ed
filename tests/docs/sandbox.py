"""A reader's folder with everything that the documents' commands read, small: films, pictures, benchmarks, models."""

import dataclasses
import re
from fractions import Fraction

import av
import numpy as np
from PIL import Image

from dgafvsr.training import recipes
from tests import factories

WIDTH, HEIGHT = 24, 16
TIMES = (0, 40, 80, 120, 160, 60_000, 60_500, 61_000, 95_000)
"""Milliseconds at which the frames of a film are shown: with few frames it lasts long enough for any range."""


def picture(seed, height=HEIGHT, width=WIDTH):
    """A smooth but structured picture, H W 3 uint8."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 6 + 2, width // 6 + 2, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def film(path, *, codec="mpeg4", pixel_format="yuv420p", height=HEIGHT, width=WIDTH, times=TIMES):
    """A film with a tone for its sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wide = picture(1, height, width + 2 * len(times))
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = width, height, pixel_format
        video.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("aac", rate=8000, layout="mono")
        tone = np.sin(np.arange(8000, dtype=np.float32) / 5)[None]
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(wide[:, 2 * index : 2 * index + width]), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        samples.rate = 8000
        container.mux(sound.encode(samples))
        container.mux(sound.encode(None))


def large_film(path):
    """A result of `film`, four times as large."""
    film(path, height=4 * HEIGHT, width=4 * WIDTH)


def interlaced_film(path):
    """A film that `--deinterlace` has something to do with."""
    film(path, codec="ffv1", height=4 * HEIGHT, width=4 * WIDTH, times=range(0, 200, 40))


def pictures(folder, *, count=3, height=HEIGHT, width=WIDTH):
    """Numbered PNG files."""
    folder.mkdir(parents=True)
    wide = picture(2, height, width + 2 * count)
    for index in range(count):
        Image.fromarray(wide[:, 2 * index : 2 * index + width]).save(folder / f"{index:08d}.png")


def clip_folder(folder):
    """HR pictures of one clip."""
    pictures(folder, height=4 * HEIGHT, width=4 * WIDTH)


def clips(folder, *, names=("calendar", "city"), height=4 * HEIGHT, width=4 * WIDTH):
    """A folder of clips of HR pictures."""
    for name in names:
        pictures(folder / name, height=height, width=width)


def films(folder):
    """A folder of films."""
    for name in ("one.mp4", "two.mkv"):
        film(folder / name, times=range(0, 160, 40))


def list_of_films(path):
    """A list with one film, and the film."""
    film(path.parent / "listed.mkv", times=range(0, 160, 40))
    path.write_text("# films\nlisted.mkv\n", encoding="utf-8")


def vid4(folder):
    """Two clips, truth and reduced."""
    clips(folder / "GT")
    clips(folder / "BIx4", height=HEIGHT, width=WIDTH)


def whole_vid4(folder):
    """All clips with all frames, as the benchmark is laid out."""
    for name, count in (("calendar", 41), ("city", 34), ("foliage", 49), ("walk", 47)):
        pictures(folder / "GT" / name, count=count, height=8, width=12)


def small_clips(folder):
    """A folder of clips of LR pictures."""
    clips(folder, names=("000", "001"), height=HEIGHT, width=WIDTH)


def footage(folder):
    """Training material: photographs, a clip, and a held-out clip."""
    (folder / "photos").mkdir(parents=True)
    for index, (height, width) in enumerate([(150, 210), (96, 180), (240, 160)]):
        Image.fromarray(picture(index, height, width)).save(folder / "photos" / f"{index}.png")
    film(folder / "videos" / "clip.mp4", height=128, width=160, times=range(0, 320, 40))
    pictures(folder / "val" / "clip", height=64, width=96)


def held_out(folder):
    """Clips to validate on."""
    pictures(folder / "clip", height=64, width=96)


def pack(path):
    """Training material in one file."""
    from dgafvsr.training.data.pack_candidates import PackSettings
    from dgafvsr.training.data.packing import pack as pack_data

    footage(path.parent / "packed")
    pack_data(path.parent / "packed", path, PackSettings(max_mb=1), overwrite=False)


def finished_run(folder):
    """A run of all stages, with the recipes as they are now: shrunken, in a test of the documents."""
    footage(folder.parent / "learned")
    recipes.run("tiny", data=folder.parent / "learned", output=folder)


def model(folder):
    """A tiny random model of our own kind."""
    factories.pipeline(initial_noise="shared", turns="guided").save_pretrained(folder)


def project_folder(name):
    """A maker of a copy of the example clip's folder with a film of that name."""
    return lambda folder: film(folder / name, height=128, width=160, times=range(0, 240, 40))


# What is made when a command names it and nothing lies there: (pattern of the command, path, maker); the first fits
MATERIALS = (
    (r"--deinterlace", "film.mkv", interlaced_film),
    (r"", "film.mp4", film),
    (r"", "film.mkv", film),
    (r"batch a\.mp4", "a.mp4", film),
    (r"batch .*films", "films", films),
    (r"--list more\.txt", "more.txt", list_of_films),
    (r"", "hdr.mkv", lambda path: film(path, codec="ffv1", pixel_format="yuv420p10le")),
    (r"", "examples", project_folder("bigbuckbunny_320x180.mp4")),
    (r"upscale pictures/", "pictures", pictures),
    (r"(upscale |Path\( )frames", "frames", pictures),
    (r"compare .*large\.mp4", "large.mp4", large_film),
    (r"--reference truth\.mp4", "truth.mp4", large_film),
    (r"(vid4/|videolq/|--truth vid4).* theirs=results/|theirs=results/ .*vid4", "results", clips),
    (r"results/", "results", clip_folder),
    (r"theirs_vid4/", "theirs_vid4", clips),
    (r"others/", "others", clip_folder),
    (r"gt/calendar", "gt/calendar", clip_folder),
    (r"analyze domains clips/", "clips", lambda folder: clips(folder, height=256, width=264)),
    (r"--truth gt/", "gt", clip_folder),
    (r"data check", "benchmarks/vid4", whole_vid4),
    (r"vid4", "vid4", vid4),
    (r"videolq/", "videolq", small_clips),
    (r"--data (DATA|train\.tar)|data pack DATA", "DATA", footage),
    (r"--data footage|degrade footage", "footage", footage),
    (r"--data train\.tar", "train.tar", pack),
    (r"--val VAL", "VAL", held_out),
    (r"train export RUN", "RUN", finished_run),
    (r"--model MODEL", "MODEL", model),
    (r"runs/(tiny|mine)/model", None, model),
)


def provide(command, folder):
    """Make what this command line reads and nothing has made yet."""
    done = set()
    for pattern, name, make in MATERIALS:
        found = re.search(pattern, command)
        path = name or (found[0] if found else "")
        mentioned = re.search(rf"(?<![\w/.]){re.escape(path)}(?![\w.])", command)
        if found and mentioned and path not in done:
            done.add(path)
            if not (folder / path).exists():
                make(folder / path)


SMALL = {
    "adversarial_weight": 0.0,
    "batch_size": 2,
    "block_out_channels": (8, 16),
    "decoder_blocks": 1,
    "detail_width": 8,
    "encoder_blocks": 1,
    "norm_num_groups": 4,
    "perceptual_weight": 0.0,
    "precision": "no",
    "side": 32,
    "statistics_weight": 0.0,
    "steps": 2,
    "width": 8,
}
"""Fields of recipes by which they take a second, and no network that would have to be downloaded."""


def shrunken(value):
    """A recipe, or a part of one, with small numbers wherever it has such a field."""
    if not dataclasses.is_dataclass(value):
        return value
    now = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    small = {name: SMALL[name] if name in SMALL and each is not None else shrunken(each) for name, each in now.items()}
    return dataclasses.replace(value, **small)


def toy_recipes():
    """Name -> entry: the recipes, shrunken."""
    toys = {name: shrunken(entry.make()) for name, entry in recipes.RECIPES.items()}
    return {name: dataclasses.replace(recipes.RECIPES[name], make=lambda toy=toy: toy) for name, toy in toys.items()}
