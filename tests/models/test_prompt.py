import copy
from types import SimpleNamespace

import pytest
import torch
from accelerate import cpu_offload
from tests import factories
from tests.pretended_device import PretendedDevice
from torch import nn

from dgafvsr.models.prompt import KeptEmbedding, embed_prompt

CPU = torch.device("cpu")


class Words(nn.Module):
    """Stands in for a text encoder, and counts its calls."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.table = nn.Embedding(300, 6)
        self.calls = 0
        self.eval()

    def forward(self, tokens):
        """1 L -> 1 L 6."""
        self.calls += 1
        return (self.table(tokens),)


class Tokens:
    """Stands in for a tokenizer."""

    model_max_length = 5

    def __init__(self, shift=0):
        self.shift = shift

    def __call__(self, text, **options):
        return SimpleNamespace(input_ids=torch.arange(5)[None] + len(text) + self.shift)


@pytest.fixture
def kept():
    return KeptEmbedding()


def scale(words):
    with torch.no_grad():
        words.table.weight.mul_(2)


def load_others(words):
    words.load_state_dict(Words(seed=7).state_dict())


def replace_weights(words):
    words.table.weight = nn.Parameter(torch.ones(300, 6))


def round_weights(words):
    words.to(torch.float16).to(torch.float32)  # to the same type again, and perhaps to the same address


CHANGES = [scale, load_others, replace_weights, round_weights, torch.nn.Module.half]


def test_a_prompt_is_embedded_once(kept):
    words = Words()
    first, again = (kept(words, Tokens(), CPU) for _ in range(2))
    assert first is again
    assert words.calls == 1
    assert torch.equal(first, embed_prompt(words, Tokens()))


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_encoder_embeds_anew(kept, change):
    words = Words()
    before = kept(words, Tokens(), CPU)
    change(words)
    after, expected = kept(words, Tokens(), CPU), embed_prompt(words, Tokens())
    assert after is not before
    assert after.dtype == expected.dtype
    assert torch.equal(after, expected)


def test_another_encoder_tokenizer_or_prompt_embeds_anew(kept):
    words, others = Words(), Words(seed=7)
    for encoder, tokenizer, prompt in ((words, Tokens(), ""), (others, Tokens(), ""), (others, Tokens(9), "film")):
        assert torch.equal(kept(encoder, tokenizer, CPU, prompt), embed_prompt(encoder, tokenizer, prompt))


def test_the_embedding_is_where_it_is_wanted(kept):
    with PretendedDevice("cuda:1") as device:
        words = Words()
        for place in (CPU, device, CPU):
            assert kept(words, Tokens(), place).device == place
            words.to(place)
            assert kept(words, Tokens(), place).device == place
        assert words.calls == 5  # the first move goes nowhere


def test_an_embedding_of_inference_mode_stays_in_it(kept):
    words = Words()
    with torch.inference_mode():
        assert kept(words, Tokens(), CPU).is_inference()
    assert not kept(words, Tokens(), CPU).is_inference()


def test_changes_that_nobody_would_notice_are_waited_for(kept):
    offloaded, training = Words(), Words().train()
    cpu_offload(offloaded, CPU)
    with torch.inference_mode():
        unversioned = Words()
    for words in (offloaded, training, unversioned):
        for _ in range(2):
            kept(words, Tokens(), CPU)
        assert words.calls == 2


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_are_empty(kept, copied):
    words = Words()
    kept(words, Tokens(), CPU)
    copied(kept)(words, Tokens(), CPU)
    assert words.calls == 2


def test_memory_of_weights_that_are_gone_is_free(kept):
    words = Words()
    kept(words, Tokens(), CPU)
    held = kept._made_of[4][0][0]
    words.half()
    assert held.expired()


def test_the_pipeline_embeds_its_prompt_once_an_encoder():
    unet = factories.denoiser(attention=True)
    words, others = Words(), Words(seed=7)
    parts = {"unet": unet, "guidance": factories.guidance(unet), "tokenizer": Tokens()}
    pipe = factories.pipeline(text_encoder=words, **parts)
    first, again = (pipe(factories.clip(2), output_type="latent").frames for _ in range(2))
    assert words.calls == 1
    assert torch.equal(first, again)
    pipe.text_encoder = others
    changed = pipe(factories.clip(2), output_type="latent").frames
    expected = factories.pipeline(text_encoder=others, **parts)(factories.clip(2), output_type="latent").frames
    assert torch.equal(changed, expected)
    assert not torch.equal(changed, first)
