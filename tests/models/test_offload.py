"""Offload as diffusers sets it: weights come and go by accelerate's hooks, and nothing may read them past those.

Here everything computes on the CPU. What is offloaded layer by layer leaves placeholders on torch's meta device between
calls, so a weight that is read past its hook fails here as it would on a GPU.
"""

from types import SimpleNamespace

import pytest
import torch
from accelerate import cpu_offload
from accelerate.hooks import CpuOffload
from diffusers import DiffusionPipeline
from tests import factories
from torch import nn

from dgafvsr.models.execution import REFERENCE, Execution
from dgafvsr.models.offload import device_weight_bytes, is_offloaded, offload_of, placed, runs_on, weights_of
from dgafvsr.models.prompt import embed_prompt

CPU = torch.device("cpu")


class Words(nn.Module):
    """Stands in for a text encoder: 1 L -> 1 L 6."""

    dtype, device = torch.float32, torch.device("meta")

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.table = nn.Embedding(9, 6)

    def forward(self, tokens):
        """The embedding of tokens."""
        return (self.table(tokens),)


class Tokens:
    """Stands in for a tokenizer."""

    model_max_length = 5

    def __call__(self, text, **options):
        return SimpleNamespace(input_ids=torch.arange(self.model_max_length)[None])


def prompted():
    """A pipeline whose D_U attends to a prompt."""
    unet = factories.denoiser(attention=True)
    return factories.pipeline(
        unet=unet, guidance=factories.guidance(unet), text_encoder=Words(), tokenizer=Tokens(), turns="guided"
    )


def networks(pipe):
    return [part for part in pipe.components.values() if isinstance(part, nn.Module)]


def offload_layers(pipe):
    """`enable_sequential_cpu_offload` for a computer without accelerators, where diffusers refuses it."""
    for network in networks(pipe):
        cpu_offload(network, CPU)


@pytest.mark.parametrize("make", [factories.pipeline, prompted])
@pytest.mark.parametrize("tile", [None, 32])
def test_networks_offloaded_layer_by_layer_give_the_same_frames(make, tile):
    pipe, frames = make(), factories.clip(3, 34, 38)
    pipe.execution = REFERENCE
    expected = pipe(frames, tile=tile).frames
    offloaded = make()
    offload_layers(offloaded)
    assert all(weight.is_meta for network in networks(offloaded) for weight in network.parameters())
    for _ in range(2):  # the second call finds what the first has kept
        assert (offloaded(frames, tile=tile).frames == expected).all()


@pytest.mark.parametrize("make", [factories.pipeline, prompted])
def test_whole_networks_are_offloaded_through_their_hooks(make, monkeypatch):
    pipe, frames = make(), factories.clip()
    expected = pipe(frames).frames
    entered = []
    before = CpuOffload.pre_forward

    def enter(hook, module, *args, **options):
        entered.append(module)
        return before(hook, module, *args, **options)

    monkeypatch.setattr(CpuOffload, "pre_forward", enter)
    pipe.enable_model_cpu_offload(device="cpu")
    assert (pipe(frames).frames == expected).all()
    assert {id(module) for module in entered} == {id(network) for network in networks(pipe)}
    assert entered.count(pipe.vae) == len(frames)


def test_a_network_runs_where_its_hooks_say():
    unet = factories.denoiser()
    assert runs_on(unet) == CPU
    assert not is_offloaded(unet)
    cpu_offload(unet, CPU)
    assert unet.device.type == "meta"
    assert runs_on(unet) == CPU
    assert is_offloaded(unet)


def test_prompt_goes_where_the_text_encoder_runs():
    words = Words()
    expected = embed_prompt(words, Tokens())
    cpu_offload(words, CPU)
    assert torch.equal(embed_prompt(words, Tokens()), expected)


def test_offloaded_networks_run_uncompiled_and_say_so():
    unet = factories.denoiser()
    unet.compiled = unet.forward  # as if it had been compiled before
    cpu_offload(unet, CPU)
    with pytest.warns(UserWarning, match="Nothing can be compiled here \\(the weights are offloaded\\)"):
        Execution(compiled=True).arrange(unet)
    assert unet.compiled is None


def test_latents_alone_leave_the_decoder_where_it_is():
    pipe = factories.pipeline()
    offload_layers(pipe)
    assert pipe(factories.clip(), output_type="latent").frames.shape == (3, 4, 18, 22)


def test_nobody_makes_room_for_the_guidance_and_it_for_nobody():
    """It takes turns with D_U: one of the two would be moved at every visit."""
    pipe = factories.pipeline()
    pipe.enable_model_cpu_offload(device="cpu")
    leaving = {name: getattr(pipe, name)._hf_hook.prev_module_hook for name in ("guidance", "unet", "vae")}
    assert leaving["vae"].model is pipe.unet
    assert (leaving["unet"], leaving["guidance"]) == (None, None)


def test_pipeline_says_where_it_computes_and_not_where_its_weights_wait(monkeypatch):
    pipe = factories.pipeline()
    assert pipe.device == CPU
    monkeypatch.setattr(CpuOffload, "pre_forward", lambda hook, module, *args, **options: (args, options))
    monkeypatch.setattr("diffusers.pipelines.pipeline_utils.empty_device_cache", lambda *_: None)
    placed(pipe, torch.device("cuda:1"), "model")
    assert next(pipe.unet.parameters()).device == CPU
    assert pipe.device == pipe._execution_device == torch.device("cuda:1")


def test_weights_are_stored_as_they_will_run_before_they_are_offloaded_by_layers(monkeypatch):
    pipe = factories.pipeline()
    monkeypatch.setattr(DiffusionPipeline, "enable_sequential_cpu_offload", lambda pipe, device: offload_layers(pipe))
    assert placed(pipe, CPU, "sequential") is pipe
    for network in networks(pipe):
        large = [w for w in weights_of(network).values() if w.ndim == 4 and min(w.shape) > 1]
        assert large
        assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in large)


def test_nothing_is_offloaded_unless_it_is_asked_for():
    pipe = placed(factories.pipeline(), CPU)
    assert offload_of(networks(pipe)) == "none"


@pytest.mark.parametrize("make", [factories.pipeline, prompted])
def test_weights_that_wait_elsewhere_are_found(make):
    pipe, other = make(), make()
    offload_layers(other)
    for here, there in zip(networks(pipe), networks(other), strict=True):
        expected, found = here.state_dict(), weights_of(there)
        assert list(found) == list(expected)
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_how_networks_are_offloaded_is_seen():
    pipe = factories.pipeline()
    pipe.enable_model_cpu_offload(device="cpu")
    assert offload_of(networks(pipe)) == "model"
    layered = factories.pipeline()
    offload_layers(layered)
    assert offload_of(networks(layered)) == "sequential"


def test_offload_leaves_the_largest_network_beside_the_guidance_or_one_layer():
    sizes = {"guidance": 3, "unet": 5, "vae": 4, "text_encoder": 2}
    parts = {name: nn.Sequential(nn.Linear(size, 10), nn.Linear(10, 1)).bfloat16() for name, size in sizes.items()}
    in_bytes = {name: 2 * (10 * size + 10 + 11) for name, size in sizes.items()}

    def needed(offload, parts=parts, *, decodes_at_visits=False):
        return device_weight_bytes(parts, offload, decodes_at_visits=decodes_at_visits)

    assert needed("none") == needed("model", decodes_at_visits=True) == sum(in_bytes.values())
    assert needed("model") == in_bytes["guidance"] + in_bytes["unet"]
    assert needed("model", {"unet": parts["unet"], "vae": parts["vae"]}) == in_bytes["unet"]
    assert needed("sequential") == 2 * (5 * 10 + 10)
