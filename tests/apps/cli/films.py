"""Small films and pictures on disk, and a pipeline that only enlarges."""

from types import SimpleNamespace

import av
import numpy as np
import torch
from PIL import Image

from dgafvsr.errors import InputError
from tests import factories

WIDTH, HEIGHT, FRAMES = 22, 18, 5


def write_video(path, frames=FRAMES, width=WIDTH, height=HEIGHT):
    """An MPEG-4 film of moving noise at 25 frames/s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in factories.clip(frames, height, width):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def write_pictures(folder, sizes=((WIDTH, HEIGHT),) * FRAMES):
    """PNG files of the given widths and heights."""
    folder.mkdir(parents=True)
    for index, (width, height) in enumerate(sizes):
        Image.fromarray(factories.clip(1, height, width)[0]).save(folder / f"{index:03d}.png")
    return folder


class EnlargingPipeline:
    """Stands in for `DGAFVSRPipeline`: repeats every pixel 4 x 4 times and remembers how it was called."""

    default_steps = 2
    components, config = {}, {}

    def __init__(self):
        self.loaded, self.calls, self.device, self.fail_at = None, [], "cpu", None
        self.offload = "none"

    def from_pretrained(self, folder_or_hub_id=None, **options):
        self.loaded = {"model": folder_or_hub_id, **options}
        return self

    def to(self, device):
        self.device = device
        return self

    def enable_model_cpu_offload(self, device):
        self.device, self.offload = device, "model"

    def enable_sequential_cpu_offload(self, device):
        self.device, self.offload = device, "sequential"

    def __call__(self, frames, *, on_event, num_inference_steps, first_frame, tail, **options):
        if first_frame == self.fail_at:
            raise InputError("The frames are too dark")
        self.calls.append({"steps": num_inference_steps, "first_frame": first_frame, **options})
        for _ in range((num_inference_steps or self.default_steps) * len(frames)):
            on_event(None)
        large = np.repeat(np.repeat(frames[: len(frames) - tail], 4, axis=1), 4, axis=2)
        state = {"seen": torch.tensor([float(len(frames))])} if tail else None
        return SimpleNamespace(frames=large, state=state)
