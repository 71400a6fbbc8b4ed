"""Every tensor is where the one that it meets is: the pipeline, jobs, evaluation and analysis on a pretended GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.models.controlnets.controlnet import ControlNetModel

from dgafvsr.flow.dis import DISFlow
from dgafvsr.flow.raft import RAFTFlow, RAFTMode, build_raft
from dgafvsr.jobs import background
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.upscale import upscale_file
from dgafvsr.models.execution import REFERENCE, Execution
from dgafvsr.sampling.reuse import Reuse
from tests import factories
from tests.jobs.standins import lossless, pixels_of
from tests.pretended_device import DeviceError, PretendedDevice
from tests.video.films import pictures

CLIP = factories.clip(frames=3, height=16, width=18)
LARGE = factories.clip(frames=2, height=36, width=32)


@pytest.fixture(params=["cuda:1", "mps"])
def device(request):
    with PretendedDevice(request.param) as device:
        yield device


@pytest.fixture
def cuda():
    with PretendedDevice("cuda:1") as device:
        yield device


class Words(torch.nn.Module):
    """Stands in for a text encoder."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(7, 6)

    dtype = property(lambda self: self.table.weight.dtype)
    device = property(lambda self: self.table.weight.device)

    def forward(self, ids):
        return (self.table(ids),)


class Tokens:
    """Stands in for a tokenizer."""

    model_max_length = 5

    def __call__(self, prompt, **options):
        return type("Encoded", (), {"input_ids": torch.arange(5)[None]})


def prompted(unet, guidance, **parts):
    return factories.pipeline(unet=unet, guidance=guidance, text_encoder=Words(), tokenizer=Tokens(), **parts)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver": "ddim", "eta": 0.5, "window": 2, "window_batch": 2},
        {"solver": "ddpm", "turns": "guided"},
        {"solver": "dpm++", "num_inference_steps": 3, "turns": "guided"},
        {"solver": "unipc", "num_inference_steps": 4, "window": 2, "window_batch": 2},
        {"quality": "fast"},
        {"quality": "balanced", "turns": "guided"},
        {"reuse": Reuse(guidance_every=2, features_every=2), "num_inference_steps": 4},
        {"guided": False},
        {"initial_noise": "shared", "window": 2, "overlap": 1, "window_batch": 2},
        {"initial_noise": "transported", "window": 2, "overlap": 1},
        {"initial_noise": "transported", "guided": False},
        {"output_type": "pt"},
        {"output_type": "pil"},
        {"output_type": "latent"},
        {"output_type": "lazy"},
    ],
    ids=str,
)
def test_the_frames_are_those_of_the_cpu(cuda, options):
    pipe = factories.pipeline()
    pipe.execution = Execution(fused_upsampling=False)  # what is done on the CPU only
    expected = [np.asarray(frame) for frame in pipe(CLIP, **options).frames]
    found = [np.asarray(frame) for frame in pipe.to(cuda)(CLIP, **options).frames]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "dpm++", "unipc"])
def test_no_solver_needs_doubles(solver):
    with PretendedDevice("mps") as metal:
        assert len(factories.pipeline().to(metal)(CLIP[:1], solver=solver, num_inference_steps=3).frames) == 1


def test_windows_hand_on_their_state_in_tiles(device):
    pipe = factories.pipeline(initial_noise="transported").to(device)
    first = pipe(LARGE, tail=1, tile=32, tile_overlap=8)
    assert {each.device.type for each in first.state.values()} == {"cpu"}
    assert len(pipe(LARGE, state=first.state, tile=32, tile_overlap=8).frames) == 2


@pytest.mark.parametrize("given_on", ["cpu", "device"])
def test_what_is_given_may_lie_anywhere(device, given_on):
    place = device if given_on == "device" else "cpu"
    frames = torch.from_numpy(CLIP).permute(0, 3, 1, 2).to(place) / 255
    latents = torch.randn(3, 4, 16, 18).to(place)
    flows = tuple(torch.randn(2, 2, 64, 72).to(place) for _ in range(2))
    reads = {"aligned_lr": True, "reliability": True}
    unet = factories.denoiser()
    pipe = factories.pipeline(unet=unet, guidance=factories.guidance(unet, **reads)).to(device)
    assert pipe(frames, latents=latents, flows=flows, output_type="pt").frames.device.type == "cpu"
    assert len(pipe(frames, initial_noise="transported").frames) == 3


@pytest.mark.parametrize("execution", [Execution(), REFERENCE], ids=["fast", "reference"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_prompt_is_embedded_and_attended_to(device, execution, dtype):
    unet = factories.denoiser(attention=True)
    pipe = prompted(unet, factories.guidance(unet)).to(device, dtype)
    pipe.execution = execution
    for _ in range(2):  # the second time keys and values are there
        assert len(pipe(CLIP[:2], window=1, window_batch=2).frames) == 2


def test_times_wait_on_the_device_for_networks_and_on_the_cpu_for_the_scheduler(cuda, monkeypatch):
    pipe = factories.pipeline().to(cuda)
    seen = {"networks": [], "scheduler": []}
    forward, step = type(pipe.unet).forward, type(pipe.scheduler).step

    def predict(network, sample, timestep, *args, **options):
        seen["networks"].append(timestep)
        return forward(network, sample, timestep, *args, **options)

    def advance(scheduler, prediction, timestep, *args, **options):
        seen["scheduler"].append(timestep)
        return step(scheduler, prediction, timestep, *args, **options)

    monkeypatch.setattr(type(pipe.unet), "forward", predict)
    monkeypatch.setattr(type(pipe.scheduler), "step", advance)
    pipe(CLIP, num_inference_steps=2)
    assert {time.device for time in seen["networks"]} == {cuda}
    assert {time.device.type for time in seen["scheduler"]} == {"cpu"}
    assert len({time.data_ptr() for time in seen["networks"]}) == 2  # one a step, whatever the frames
    assert [int(time) for time in seen["networks"]] == [int(time) for time in seen["scheduler"]]


def test_pixel_guidance_with_noise_levels(device):
    unet = factories.denoiser(attention=True, num_class_embeds=20)
    control = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 12))
    pipe = prompted(unet, control.eval(), low_res_scheduler=DDPMScheduler()).to(device)
    assert len(pipe(CLIP[:3], noise_level=10, output_type="lazy").frames) == 3
    assert len(pipe(LARGE, noise_level=10, tile=32, tile_overlap=8, window=1, window_batch=2).frames) == 2


def test_networks_that_come_only_when_they_are_needed(cuda):
    unet = factories.denoiser(attention=True)
    pipe = prompted(unet, factories.guidance(unet))
    pipe.enable_model_cpu_offload(device=cuda)
    for _ in range(2):
        assert len(pipe(CLIP, window=2, overlap=1, output_type="lazy").frames) == 3


@pytest.mark.parametrize(("place", "half"), [("cpu", False), ("device", False), ("device", True)])
def test_raft_runs_where_its_network_is(device, place, half):
    pipe = factories.pipeline().to(device)
    network = build_raft("small").to(device if place == "device" else "cpu")
    pipe.flow_estimator = RAFTFlow(network, mode=RAFTMode(updates=1, half=half))
    assert len(pipe(CLIP[:2], flow_scale=2).frames) == 2


@pytest.fixture
def _streams_anew():
    background._background_stream.cache_clear()
    yield
    background._background_stream.cache_clear()


@pytest.mark.usefixtures("_streams_anew")
def test_a_film_is_decoded_on_the_writing_thread(cuda, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (80e9, 80e9))
    film = lossless(tmp_path / "a.mkv", pictures(5, 36, 32))
    settings = UpscaleSettings(window=3, overlap=1, tile=32, tile_overlap=8)
    pipe = factories.pipeline(initial_noise="transported")
    upscale_file(film, tmp_path / "here", pipe, settings)
    summary = upscale_file(film, tmp_path / "there", pipe.to(cuda), settings)
    assert summary.device == "cuda:1"
    here, there = (pixels_of(tmp_path / name).astype(int) for name in ("here", "there"))
    assert abs(here - there).max() <= 1


@pytest.mark.usefixtures("_streams_anew")
def test_latents_that_stayed_in_the_sampling_stream_would_be_found(cuda):
    pipe = factories.pipeline().to(cuda)
    frames = pipe(CLIP[:1], output_type="lazy").frames
    frames._latents = frames._latents.to(cuda) * 1
    with background.own_stream(cuda), pytest.raises(DeviceError, match="stream"):
        frames[0]


def test_frames_are_scored(device):
    from dgafvsr.evaluation.metrics import psnr, ssim
    from dgafvsr.evaluation.protocols import PROTOCOLS
    from dgafvsr.evaluation.temporal import TruthMotion, tof, warping_error

    truth, now, before = torch.rand(3, 1, 3, 40, 48)

    def scores(*pictures):
        truth, now, before = pictures
        motion = TruthMotion.between(truth, before, DISFlow())
        views = [protocol.view(now, "psnr") for protocol in PROTOCOLS.values()]
        return [
            *(psnr(view, view * 0.9) for view in views),
            ssim(now, truth),
            tof(now, before, motion=motion, estimator=DISFlow()),
            warping_error(now, before, motion=motion),
        ]

    expected = scores(truth, now, before)
    found = scores(*(each.to(device) for each in (truth, now, before)))
    assert [float(each) for each in found] == pytest.approx([float(each) for each in expected], rel=1e-4)


@pytest.mark.parametrize("normalisation", ["range", "deviation"])
def test_domains_are_compared(device, normalisation):
    from dgafvsr.analysis.domains import compare_domains

    clip = torch.from_numpy(LARGE).permute(0, 3, 1, 2) / 255
    pipe = factories.pipeline().to(device)
    detail = normalisation == "range"
    result = compare_domains(pipe, [clip.to(device)], DISFlow(), normalisation=normalisation, detail=detail)
    assert result.pairs == 2


def test_encoded_frames_are_measured_on_the_cpu(device):
    from dgafvsr.analysis.samples import encode_latent
    from dgafvsr.models.latent_codec import LatentCodec

    vae = factories.autoencoder().to(device)
    assert encode_latent(LatentCodec(vae))(torch.rand(1, 3, 64, 72), torch.rand(1, 3, 16, 18)).device.type == "cpu"
