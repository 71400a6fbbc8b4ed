import warnings

import pytest
import torch
from tests import factories
from tests.pretended_device import PretendedDevice

from dgafvsr.errors import ModelError
from dgafvsr.models import compiling
from dgafvsr.models.execution import REFERENCE, Execution
from dgafvsr.models.latent_codec import LatentCodec

ROUNDING = {"rtol": 1e-4, "atol": 2e-5}
"""float32 sums of a few hundred products of values near 1, in another order, through about twenty layers."""


def networks(*, attention=False):
    unet = factories.denoiser(attention=attention)
    return unet, factories.guidance(unet)


def guided_prediction(unet, guidance, *, height=16, width=24, prompt=None):
    generator = torch.Generator().manual_seed(5)
    latents, aligned = torch.randn(2, 2, 4, height, width, generator=generator)
    lr = torch.rand(2, 3, height, width, generator=generator)
    residuals = guidance(latents, lr, aligned, 300)
    return unet(torch.cat([latents, lr], dim=1), 300, prompt, residuals=residuals).sample


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize(("height", "width"), [(16, 24), (17, 23)])
@torch.no_grad()
def test_every_arrangement_gives_the_reference_up_to_rounding(attention, height, width):
    unet, guidance = networks(attention=attention)
    prompt = torch.randn(1, 5, 6).expand(2, -1, -1) if attention else None
    size = {"height": height, "width": width, "prompt": prompt}
    REFERENCE.arrange(unet, guidance)
    expected = guided_prediction(unet, guidance, **size)
    for name in ("channels_last", "fused_upsampling", "constant_prompt"):
        options = {"channels_last": False, "fused_upsampling": False, "constant_prompt": False} | {name: True}
        Execution(**options).arrange(unet, guidance)
        torch.testing.assert_close(guided_prediction(unet, guidance, **size), expected, **ROUNDING)
    Execution().arrange(unet, guidance)
    torch.testing.assert_close(guided_prediction(unet, guidance, **size), expected, **ROUNDING)
    REFERENCE.arrange(unet, guidance)
    assert torch.equal(guided_prediction(unet, guidance, **size), expected)


def test_arranging_leaves_weights_types_and_files_as_they_were(tmp_path):
    unet, guidance = networks()
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    with torch.inference_mode():
        Execution().arrange(unet, None, guidance)
    convolution = unet.conv_in.weight
    assert convolution.is_contiguous(memory_format=torch.channels_last)
    assert not convolution.is_inference()
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())
    unet.save_pretrained(tmp_path)
    again = type(unet).from_pretrained(tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in again.state_dict().items())


def test_networks_are_as_upstream_unless_arranged():
    unet, guidance = networks(attention=True)
    assert (unet.fused_upsampling, guidance.fused_upsampling) == (False, False)
    assert (unet.compiled, guidance.compiled) == (None, None)


def test_offloaded_weights_are_left_alone():
    with torch.device("meta"):
        unet = factories.denoiser()
    Execution().arrange(unet)
    assert unet.conv_in.weight.is_meta


@torch.no_grad()
def test_pipeline_runs_as_its_execution_says():
    pipe, frames = factories.pipeline(), factories.clip()
    ours = pipe(frames, output_type="latent").frames
    assert pipe.unet.fused_upsampling
    pipe.execution = REFERENCE
    theirs = pipe(frames, output_type="latent").frames
    assert not pipe.unet.fused_upsampling
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)  # rounding, fed back through two steps


@torch.no_grad()
def test_decoder_in_half_precision_keeps_the_picture_in_float32():
    """A latent that says nothing must leave the enlarged frame as it is, to better than bfloat16 can say."""
    vae = factories.autoencoder().to(torch.bfloat16)
    for parameter in vae.detail[-2].parameters():
        parameter.zero_()
    lr = torch.full((1, 3, 8, 10), 0.7071)
    decoded = LatentCodec(vae).decode(torch.randn(1, 4, 8, 10), lr)
    assert decoded.dtype == torch.float32
    torch.testing.assert_close(decoded, torch.full_like(decoded, 0.7071), rtol=0, atol=1e-6)


def test_without_a_compiler_one_line_is_said_and_everything_runs(monkeypatch):
    unet, guidance = networks()
    with torch.no_grad():
        expected = guided_prediction(unet, guidance)
    monkeypatch.setattr(compiling, "compiler_fault", lambda kind: "no C++ compiler")
    with pytest.warns(UserWarning, match="Nothing can be compiled here \\(no C\\+\\+ compiler\\)") as said:
        Execution(compiled=True, channels_last=False, fused_upsampling=False).arrange(unet, guidance)
    assert len(said) == 1
    with torch.no_grad():
        assert torch.equal(guided_prediction(unet, guidance), expected)


def broken(*args, **options):
    raise RuntimeError("the linker is missing\nand more")


@pytest.fixture
def pretended_compiler(monkeypatch):
    """What was compiled: torch.compile gives the function as it is."""
    made = []

    def compiled(function, **options):
        made.append((function.__self__, options))
        return function

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setattr(compiling, "compiler_fault", lambda kind: "no compiler" if kind == "mps" else None)
    return made


@torch.no_grad()
def test_networks_that_were_moved_are_compiled_anew(pretended_compiler):
    unet, guidance = networks()
    expected = guided_prediction(unet, guidance)
    compiled = Execution(compiled=True, channels_last=False, fused_upsampling=False)
    with PretendedDevice("cuda:1") as cuda:
        for place in ("cpu", cuda, cuda, "cpu"):
            unet.to(place)
            guidance.to(place)
            compiled.arrange(unet, guidance)
            assert unet.compiled_for == guidance.compiled_for == torch.device(place)
            assert hasattr(unet.compiled, "func") == (place == cuda)  # replays graphs there
        assert torch.equal(guided_prediction(unet, guidance), expected)
    assert [each for each, _ in pretended_compiler] == [unet, guidance] * 3


@torch.no_grad()
def test_networks_that_gave_up_their_graphs_run_as_written_there(pretended_compiler, monkeypatch):
    unet, guidance = networks()
    freed = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: freed.append(True))
    compiled = Execution(compiled=True, channels_last=False, fused_upsampling=False)
    compiled.arrange(unet, guidance)
    assert not compiling.give_up_graphs([unet, guidance, None])  # those of a processor are none
    assert unet.compiled is not None
    with PretendedDevice("cuda:1") as cuda:
        for network in (unet.to(cuda), guidance.to(cuda)):
            compiled.arrange(network)
        assert compiling.give_up_graphs([unet, guidance, None])
        assert not compiling.give_up_graphs([unet, guidance, None])
        compiled.arrange(unet, guidance)
        assert (unet.compiled, guidance.compiled) == (None, None)
        unet.to("cpu")
        compiled.arrange(unet)
        assert unet.compiled is not None  # elsewhere it is tried again
    assert freed == [True]


@pytest.mark.usefixtures("pretended_compiler")
def test_networks_that_were_moved_to_where_nothing_can_be_compiled_run_as_written():
    unet, guidance = networks()
    Execution(compiled=True).arrange(unet, guidance)
    with PretendedDevice("mps") as metal:
        unet.to(metal)
        with pytest.warns(UserWarning, match="no compiler"):
            Execution(compiled=True).arrange(unet, guidance)
        assert unet.compiled is None
        assert guidance.compiled is not None


@torch.no_grad()
def test_a_network_that_cannot_be_compiled_says_one_line_and_runs(pretended_compiler, monkeypatch):
    unet, guidance = networks()
    arranged = Execution(compiled=True, channels_last=False, fused_upsampling=False)
    expected = guided_prediction(unet, guidance)
    monkeypatch.setattr(torch, "compile", lambda function, **_: broken if function.__self__ is unet else function)
    arranged.arrange(unet, guidance)
    with pytest.warns(UserWarning, match="GuidedUNet cannot be compiled \\(the linker is missing\\)") as said:
        assert torch.equal(guided_prediction(unet, guidance), expected)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arranged.arrange(unet, guidance)
        assert torch.equal(guided_prediction(unet, guidance), expected)
    assert unet.compiled is None
    assert guidance.compiled is not None


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), ModelError("does not fit")])
def test_errors_that_are_not_the_compilers_go_on(error):
    unet, _ = networks()

    def failing(*args, **options):
        raise error

    unet.compiled = failing
    with pytest.raises(type(error)):
        unet(torch.zeros(1, 7, 8, 8), 3)
    assert unet.compiled is failing


def test_errors_of_the_network_itself_do_not_blame_the_compiler():
    unet, _ = networks()
    unet.compiled = broken
    with pytest.raises(RuntimeError, match="channels"):
        unet(torch.zeros(1, 5, 8, 8), 3)
    assert unet.compiled is broken


def test_compiler_fault_is_one_line(monkeypatch):
    monkeypatch.setattr(torch, "compile", broken)
    assert compiling.compiler_fault.__wrapped__("cpu") == "the linker is missing"


@torch.no_grad()
def test_results_of_a_graph_are_copied_out():
    """A CUDA graph writes into the same buffers each time; what a caller holds must not change under it."""
    buffer = torch.zeros(3)

    def graphed(x, *, residuals):
        buffer.copy_(x * residuals)
        return (buffer, {"untouched": 1})

    call = compiling._replay
    first = call(graphed, torch.device("cpu"), torch.ones(3), residuals=torch.full((3,), 2.0))
    second = call(graphed, torch.device("cpu"), torch.ones(3), residuals=torch.full((3,), 5.0))
    assert first[0].tolist() == [2, 2, 2]
    assert second[0].tolist() == [5, 5, 5]
    _, guidance = networks()
    residuals = guidance(torch.randn(1, 4, 8, 8), torch.rand(1, 3, 8, 8), torch.randn(1, 4, 8, 8), 3)
    copied = compiling._copied(residuals)
    assert copied.mid.data_ptr() != residuals.mid.data_ptr()
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(copied.down, residuals.down, strict=True))


@pytest.mark.slow
@torch.no_grad()
def test_compiled_networks_equal_eager_ones():
    """torch.compile fuses and reorders; float32 rounding remains."""
    if (fault := compiling.compiler_fault("cpu")) is not None:
        pytest.skip(fault)
    unet, guidance = networks()
    expected = guided_prediction(unet, guidance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler, about diffusers' code
        Execution(compiled=True).arrange(unet, guidance)
        found = guided_prediction(unet, guidance)
    assert unet.compiled is not None
    torch.testing.assert_close(found, expected, **ROUNDING)
    Execution().arrange(unet, guidance)
    assert unet.compiled is None


def test_models_loaded_in_inference_mode_can_be_run():
    with torch.inference_mode():
        pipe = factories.pipeline()
        frames = factories.clip(2)
        first = pipe(frames, seed=0).frames
    again = factories.pipeline()(frames, seed=0).frames
    assert (first == again).all()
    assert not any(weight.is_inference() for weight in pipe.unet.parameters())
