"""The options of `dgafvsr upscale`: what they are called, what they take, and what the help says about them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "EPILOG",
    "CodecOption",
    "CompileOption",
    "CrfOption",
    "DebugOption",
    "DeinterlaceOption",
    "DeviceOption",
    "DtypeOption",
    "EncoderOptions",
    "FlowOption",
    "FpsOption",
    "GuidanceOption",
    "HeightOption",
    "InputArgument",
    "JobOption",
    "JsonOption",
    "KeepJobOption",
    "MaxFramesOption",
    "MaxPixelsOption",
    "MaxSecondsOption",
    "ModelOption",
    "NoShotsOption",
    "OffloadOption",
    "OnErrorOption",
    "OutputArgument",
    "OverlapOption",
    "OverwriteOption",
    "PictureFormatOption",
    "PixelFormatOption",
    "PreviewOption",
    "RangeOption",
    "RestartOption",
    "RevisionOption",
    "SaveShotsOption",
    "ScaleOption",
    "SeedOption",
    "ShotsOption",
    "SizeOption",
    "StepsOption",
    "ThreadsOption",
    "TileOption",
    "TileOverlapOption",
    "WidthOption",
    "WindowOption",
]

MODEL, SAMPLING, SHOTS, OUTPUT, JOB = "Model", "Sampling", "Shots", "Output", "Job"
PART, INPUT = "Size and part", "Input"

EPILOG = (
    "Exit codes: 0 done, 1 the output cannot be written or an internal error, 2 wrong usage, 3 the input or the model "
    "cannot be used, 4 too little memory or disk, 130 interrupted. What was finished is kept in a job folder beside "
    "the output, and the same command goes on from there."
)
"""Below the options."""

InputArgument = Annotated[
    str, typer.Argument(metavar="IN", help="A video file, a folder of pictures, or one picture.", show_default=False)
]
OutputArgument = Annotated[
    str,
    typer.Argument(
        metavar="OUT",
        help="The result: .mp4, .m4v, .mov, .mkv or .webm, or a folder (end it with /) of pictures.",
        show_default=False,
    ),
]

ModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|HUB_ID",
        rich_help_panel=MODEL,
        help="A model folder or hub id.",
        show_default="the packaged model",
    ),
]
RevisionOption = Annotated[
    str | None, typer.Option(rich_help_panel=MODEL, help="Branch, tag or commit of a hub id.", show_default=False)
]
FlowOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=MODEL,
        help="Optical flow: dis, dis_fast, raft_large, raft_small, raft_large_half or raft_small_half.",
        show_default="the model's",
    ),
]
DeviceOption = Annotated[
    str, typer.Option(metavar="NAME", rich_help_panel=MODEL, help="auto, cuda, cuda:N, mps or cpu.")
]
DtypeOption = Annotated[
    str,
    typer.Option(metavar="NAME", rich_help_panel=MODEL, help="Type of the weights: auto, float32, float16, bfloat16."),
]

CompileOption = Annotated[
    bool,
    typer.Option(
        "--compile",
        rich_help_panel=MODEL,
        help="Compile the networks (torch.compile): minutes for each size of frames, for long films on a GPU. On a CPU "
        "it gains nothing.",
    ),
]
OffloadOption = Annotated[
    str,
    typer.Option(
        metavar="none|model|sequential",
        rich_help_panel=MODEL,
        help="Let weights wait on the CPU: of whole networks (model) or of every layer (sequential). Less memory of "
        "the GPU, the same frames, slower.",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        rich_help_panel=MODEL,
        help="Processor threads that networks and flow may use, to leave some to other programs.",
        show_default="one for each core",
    ),
]

StepsOption = Annotated[
    int | None,
    typer.Option(metavar="N", rich_help_panel=SAMPLING, help="Denoising steps.", show_default="the model's"),
]
SeedOption = Annotated[
    int, typer.Option(metavar="N", rich_help_panel=SAMPLING, help="Of the noise: same seed, same frames.")
]
WindowOption = Annotated[
    str,
    typer.Option(
        metavar="N|auto", rich_help_panel=SAMPLING, help="Frames sampled together; auto: what the memory holds."
    ),
]
OverlapOption = Annotated[
    int, typer.Option(metavar="N", rich_help_panel=SAMPLING, help="Frames that neighbouring windows share.")
]
LockstepOption = Annotated[
    str,
    typer.Option(
        metavar="N|auto",
        rich_help_panel=SAMPLING,
        help="Neighbouring windows sampled together: more memory, and faster where one does not fill the GPU.",
    ),
]
TileOption = Annotated[
    str,
    typer.Option(
        metavar="N|auto|off",
        rich_help_panel=SAMPLING,
        help="Side of the tiles that frames are sampled in, in pixels of the input; auto: only where needed.",
    ),
]
TileOverlapOption = Annotated[
    int,
    typer.Option(metavar="N", rich_help_panel=SAMPLING, help="Pixels that neighbouring tiles share at least."),
]
GuidanceOption = Annotated[
    bool,
    typer.Option(
        "--guidance/--no-guidance",
        rich_help_panel=SAMPLING,
        help="Whether neighbouring frames guide each other; without, each frame is upscaled for itself.",
    ),
]

ShotsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=SHOTS,
        help="Follow this shot list instead of looking for cuts.",
        show_default=False,
    ),
]
NoShotsOption = Annotated[
    bool,
    typer.Option(
        "--no-shots",
        rich_help_panel=SHOTS,
        help="Do not look for cuts: take the film as one shot. Else nothing is guided across a cut.",
    ),
]
SaveShotsOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", rich_help_panel=SHOTS, help="Write the shots as a list, in JSON.", show_default=False),
]

ScaleOption = Annotated[
    str | None,
    typer.Option(
        metavar="X",
        rich_help_panel=PART,
        help="Times as wide and high, above 1 and up to 4; below 4 the result is reduced from 4.",
        show_default="4",
    ),
]
SizeOption = Annotated[
    str | None,
    typer.Option(
        metavar="WxH",
        rich_help_panel=PART,
        help="The largest size of the film's shape that fits into this one; no bars, nothing cut off.",
        show_default=False,
    ),
]
WidthOption = Annotated[
    int | None,
    typer.Option(metavar="N", rich_help_panel=PART, help="Width; the height follows.", show_default=False),
]
HeightOption = Annotated[
    int | None,
    typer.Option(metavar="N", rich_help_panel=PART, help="Height; the width follows.", show_default=False),
]
PreviewOption = Annotated[
    str | None,
    typer.Option(
        metavar="LENGTH", rich_help_panel=PART, help="Only the beginning: 2s, or 48f for frames.", show_default=False
    ),
]
RangeOption = Annotated[
    str | None,
    typer.Option(
        "--range",
        metavar="START-END",
        rich_help_panel=PART,
        help="Only this part: times such as 62.5 or 1:02.5, or frames such as 48f-96f. An end may be left out.",
        show_default=False,
    ),
]

CodecOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=OUTPUT,
        help="Of a video: h264, hevc, av1, vp9, prores or ffv1.",
        show_default="the container's",
    ),
]
CrfOption = Annotated[
    int | None,
    typer.Option(
        "--crf",
        metavar="N",
        rich_help_panel=OUTPUT,
        help="Compression of a video, lower is better: 0 to 51 (h264, hevc), 0 to 63 (av1, vp9), 0 to 3 (prores).",
        show_default="the codec's",
    ),
]
PixelFormatOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=OUTPUT,
        help="Stored layout of a video, such as yuv420p10le for 10 bits.",
        show_default="4:2:0 of the input's depth",
    ),
]
EncoderOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder-option",
        metavar="NAME=VALUE",
        rich_help_panel=OUTPUT,
        help="Further option of the encoder, such as preset=slow or tune=film; may be repeated.",
        show_default=False,
    ),
]
PictureFormatOption = Annotated[
    str, typer.Option(metavar="NAME", rich_help_panel=OUTPUT, help="Of a folder of pictures: png, tiff or webp.")
]
FpsOption = Annotated[
    str | None,
    typer.Option(
        metavar="RATE",
        rich_help_panel=INPUT,
        help="Frame rate of a picture folder, such as 25 or 30000/1001; videos bring their own.",
        show_default="24",
    ),
]
DeinterlaceOption = Annotated[
    bool,
    typer.Option(
        "--deinterlace",
        rich_help_panel=INPUT,
        help="Make one picture of the two fields of each picture; interlaced films are refused without.",
    ),
]
OnErrorOption = Annotated[
    str,
    typer.Option(
        metavar="stop|skip-damaged",
        rich_help_panel=INPUT,
        help="What damage in the middle of a film does; frames that are skipped are said.",
    ),
]
MaxPixelsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        rich_help_panel=INPUT,
        help="Refuse pictures with more pixels.",
        show_default="67108864: 8192x8192",
    ),
]
MaxFramesOption = Annotated[
    int | None,
    typer.Option(metavar="N", rich_help_panel=INPUT, help="Refuse films of more frames.", show_default="no limit"),
]
MaxSecondsOption = Annotated[
    float | None,
    typer.Option(metavar="N", rich_help_panel=INPUT, help="Refuse longer films.", show_default="no limit"),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", rich_help_panel=OUTPUT, help="Replace an existing output.")
]

JobOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        rich_help_panel=JOB,
        help="Where what is finished is kept until the output is complete.",
        show_default="hidden, beside the output",
    ),
]
RestartOption = Annotated[
    bool, typer.Option("--restart", rich_help_panel=JOB, help="Throw an unfinished job away and start over.")
]
KeepJobOption = Annotated[
    bool, typer.Option("--keep-job", rich_help_panel=JOB, help="Keep the job folder when the output is complete.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON object on stdout, with the result or with the error.")
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks and library warnings.")]
