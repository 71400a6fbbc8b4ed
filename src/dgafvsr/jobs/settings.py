"""How a film is upscaled, and how its job is kept: everything that `dgafvsr upscale` can be asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Self

from dgafvsr.errors import UsageError
from dgafvsr.jobs.parts import FilmPart
from dgafvsr.jobs.shot_plan import check_shot_options
from dgafvsr.jobs.sizes import OutputSize
from dgafvsr.jobs.upscaler import Upscaler
from dgafvsr.sampling.presets import Quality, SamplingChoice, check_quality, preset
from dgafvsr.sampling.reuse import Reuse
from dgafvsr.sampling.tiles import Tiling
from dgafvsr.sampling.windows import check_window
from dgafvsr.video.codecs import EncoderSettings
from dgafvsr.video.decoding import OnError
from dgafvsr.video.encoding import Encoding
from dgafvsr.video.limits import InputLimits
from dgafvsr.video.shot_lists import read_shots

__all__ = ["JobSettings", "UpscaleSettings"]


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """What becomes of the job folder."""

    folder: Path | None = None
    """Where the job is kept; None for a hidden folder beside the output."""
    restart: bool = False
    """Whether an unfinished job in the folder is thrown away."""
    keep: bool = False
    """Whether the folder stays when the output is complete."""


@dataclass(frozen=True, kw_only=True)
class UpscaleSettings:
    """How a film is upscaled.

    Raises:
        UsageError: a value out of its range, or values that contradict one another.
    """

    steps: int | None = None
    """Denoising steps, at least 1; None for the model's default."""
    seed: int = 0
    """Of the noise: same seed, same frames."""
    window: int | None = None
    """Frames sampled together, at least 1; None for as many as the memory holds."""
    overlap: int = 4
    """Frames that neighbouring windows share, fewer than `window`."""
    lockstep: int | None = None
    """Neighbouring windows of a shot sampled together, at least 1; None for what suits the device."""
    tile: int | Literal["auto"] | None = "auto"
    """Side, in pixels of the film, of the tiles that frames are sampled in; None for whole frames, "auto" for tiles
    only where whole frames do not fit into the memory."""
    tile_overlap: int = 16
    """Pixels that neighbouring tiles share at least, at most half a tile."""
    guided: bool = True
    """Whether neighbouring frames guide each other; False upscales each for itself."""
    sampling: SamplingChoice = field(default_factory=SamplingChoice)
    """How frames are sampled besides `steps` and `guided`, as far as it is asked for; the rest is the model's."""
    quality: Quality | None = None
    """A preset for what `steps` and `sampling` leave open, see `dgafvsr.sampling.presets`; None for none."""
    size: OutputSize = field(default_factory=OutputSize)
    """How large the result is to be."""
    part: FilmPart | None = None
    """The part of the film that is upscaled, None for all of it."""
    detect_shots: bool = True
    """Whether cuts are looked for; False without a list takes the film as one shot."""
    shots: Path | None = None
    """A shot list to follow instead of looking for cuts, None for none."""
    save_shots: Path | None = None
    """Where the shots are written as a list, None for nowhere; `overwrite` holds for it too."""
    frame_rate: Fraction | None = None
    """Frames in a second of a picture folder, None for 24. Videos bring their own."""
    limits: InputLimits = field(default_factory=InputLimits)
    """What input is refused as too large."""
    deinterlace: bool = False
    """Whether one picture is made of the two fields of each picture of an interlaced film, which is refused else."""
    on_error: OnError = "stop"
    """What damage in the middle of the film does: stop with an error, or skip the damaged frames with a warning."""
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    """How the pictures are stored."""
    overwrite: bool = False
    """Whether an existing output may be replaced."""
    job: JobSettings = field(default_factory=JobSettings)
    """What becomes of the job folder."""

    def __post_init__(self) -> None:
        check_quality(self.quality)
        assert self.sampling.steps is None, "steps are a setting of their own"
        assert self.sampling.guided is None, "guided is a setting of its own"
        check_shot_options(detect=self.detect_shots, given=self.shots, save=self.save_shots)
        if self.window is not None:
            check_window(self.window, self.overlap)
        if isinstance(self.tile, int):
            Tiling(tile=self.tile, overlap=self.tile_overlap)
        if self.overlap < 0:
            raise UsageError("The overlap is impossible", got=self.overlap, expected="at least 0 frames")
        if self.lockstep is not None and self.lockstep < 1:
            raise UsageError(
                "The number of windows in lockstep is impossible", got=self.lockstep, expected="at least 1"
            )
        if self.steps is not None and self.steps < 1:
            raise UsageError("The number of steps is impossible", got=self.steps, expected="at least 1")
        if self.frame_rate is not None and self.frame_rate <= 0:
            raise UsageError("The frame rate is impossible", got=self.frame_rate, expected="above 0")
        if self.part is not None and self.save_shots is not None:
            raise UsageError(
                "The shots of a part are not the shots of the film",
                got="a shot list to write, and a range",
                remedy="leave --save-shots or the range out",
            )

    def resolved(self, upscaler: Upscaler) -> Self:
        """The same with what the preset means for a model instead of the preset, which loads the model.

        Args:
            upscaler: the model; it is not asked where there is no preset.
        """
        if self.quality is None:
            return self
        chosen = replace(self.sampling, steps=self.steps).over(preset(self.quality, upscaler.default_steps))
        return replace(self, quality=None, steps=chosen.steps, sampling=replace(chosen, steps=None))

    @property
    def sampling_options(self) -> dict[str, Any]:
        """What a pipeline is told besides steps and guidance; nothing unless something is asked for."""
        return self.sampling.asked | ({} if self.quality is None else {"quality": self.quality})

    def told(self, encoding: Encoding) -> dict[str, Any]:
        """What the frames depend on, as JSON values by name, so that a job can tell whether it was changed.

        `on_error` is not among it: up to the damage both its values give the same frames, so a job that stopped there
        can be gone on with.

        Args:
            encoding: how the pictures are going to be stored.
        """
        shots: Any = "found" if self.detect_shots else "one"
        if self.shots is not None:
            shots = list(read_shots(self.shots).starts)
        stored = {key: value for key, value in asdict(encoding).items() if key != "warnings"}
        return {
            "steps": self.steps,
            "seed": self.seed,
            "window": self.window,
            "overlap": self.overlap,
            "tile": self.tile,
            "tile_overlap": self.tile_overlap,
            **({} if self.lockstep is None else {"lockstep": self.lockstep}),
            "guidance": self.guided,
            **{name: _told(value) for name, value in self.sampling_options.items()},
            "size": self.size.asked_text,
            "range": None if self.part is None else str(self.part),
            "shots": shots,
            "fps": None if self.frame_rate is None else str(self.frame_rate),
            "deinterlace": self.deinterlace,
            "encoding": stored,
        }


def _told(value: Any) -> Any:
    return asdict(value) if isinstance(value, Reuse) else value
