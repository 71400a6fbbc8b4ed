from unittest.mock import patch

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from tests import factories
from torch import nn

from dgafvsr.models.prompt_attention import ConstantPromptAttention, attend_to_constant_prompt


def attention(**options):
    torch.manual_seed(0)
    return Attention(query_dim=8, cross_attention_dim=6, heads=2, dim_head=4, **options).eval()


def projections(layer):
    return patch.object(layer.to_k, "forward", wraps=layer.to_k.forward)


@torch.no_grad()
def test_equals_diffusers_bit_for_bit_and_computes_keys_once():
    layer, prompt = attention(), torch.randn(1, 5, 6)
    queries = torch.randn(3, 1, 7, 8)
    expected = [layer(query, prompt) for query in queries]
    layer.set_processor(ConstantPromptAttention())
    with projections(layer) as projected:
        found = [layer(query, prompt) for query in queries]
    assert projected.call_count == 1
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


@torch.no_grad()
def test_a_prompt_for_the_whole_batch_is_projected_once():
    layer, prompt, query = attention(), torch.randn(1, 5, 6).expand(3, -1, -1), torch.randn(3, 7, 8)
    expected = layer(query, prompt)
    layer.set_processor(ConstantPromptAttention())
    # A matrix of one prompt instead of three may be multiplied in another order.
    torch.testing.assert_close(layer(query, prompt), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_changes_of_prompt_and_weights_are_noticed():
    layer, query = attention(), torch.randn(1, 7, 8)
    layer.set_processor(ConstantPromptAttention())
    plain = attention()

    def equal(prompt):
        return torch.equal(layer(query, prompt), plain(query, prompt))

    prompt = torch.randn(1, 5, 6)
    assert equal(prompt)
    prompt.mul_(2)
    assert equal(prompt)
    assert equal(torch.randn(1, 5, 6))
    for network in (layer, plain):
        network.to_v.weight.mul_(-1)
    assert equal(prompt)
    for network in (layer, plain):
        network.to_k.weight = nn.Parameter(torch.ones(8, 6))
    assert equal(prompt)


def test_what_is_no_constant_prompt_goes_to_diffusers():
    layer, query, prompt = attention(), torch.randn(2, 7, 8), torch.randn(2, 5, 6)
    plain = attention()
    layer.set_processor(ConstantPromptAttention())
    with projections(layer) as projected, torch.no_grad():
        for _ in range(2):
            assert torch.equal(layer(query, prompt), plain(query, prompt))
        assert projected.call_count == 2
    one = prompt[:1].requires_grad_()
    layer(query[:1], one).sum().backward()
    assert one.grad is not None
    with torch.inference_mode():
        assert torch.equal(layer(query, prompt * 2), plain(query, prompt * 2))


def test_only_diffusers_own_processors_are_replaced():
    unet = factories.denoiser(attention=True)
    kept = next(iter(unet.attn_processors))
    unet.set_attn_processor(unet.attn_processors | {kept: AttnProcessor()})

    def kinds():
        return {type(each) for name, each in unet.attn_processors.items() if name != kept}

    attend_to_constant_prompt(unet, wanted=True)
    assert kinds() == {ConstantPromptAttention}
    attend_to_constant_prompt(unet, wanted=False)
    assert kinds() == {AttnProcessor2_0}
    assert type(unet.attn_processors[kept]) is AttnProcessor


@pytest.mark.parametrize(
    "options", [{"residual_connection": True}, {"rescale_output_factor": 2.0}, {"qk_norm": "layer_norm"}]
)
@torch.no_grad()
def test_unusual_attentions_keep_their_meaning(options):
    layer, plain = attention(**options), attention(**options)
    layer.set_processor(ConstantPromptAttention())
    query, prompt = torch.randn(1, 7, 8), torch.randn(1, 5, 6)
    assert torch.equal(layer(query, prompt), plain(query, prompt))
