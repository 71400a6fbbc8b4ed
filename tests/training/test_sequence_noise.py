from __future__ import annotations

import torch

from dgafvsr.training.draws import Draws
from dgafvsr.training.sequence_noise import draw_noise, transport_noise

SHAPE = (3, 4, 12, 16)


def draws(samples=(5, 6)):
    return Draws(0, list(samples))


def flow(shift, samples=2):
    """Of a picture that moves by `shift` latent pixels to the right in every frame."""
    field = torch.zeros(samples, 2, 2, 48, 64)
    field[:, :, 0] = -4.0 * shift
    return field


def test_shared_noise_is_the_first_frames():
    own, shared = (draw_noise(*SHAPE, shared_share=share, draws=draws()) for share in (0.0, 1.0))
    assert torch.equal(shared, own[:, :1].expand_as(own))
    assert not torch.equal(own[:, 0], own[:, 1])


def test_no_share_leaves_noise_and_draws_alone():
    noise, source = draw_noise(*SHAPE, shared_share=0.0, draws=draws()), draws()
    assert transport_noise(noise, flow(1), share=0.0, draws=source) is noise
    assert torch.equal(source.uniform(), draws().uniform())


def test_transported_noise_moves_with_the_picture():
    noise = transport_noise(torch.zeros(2, *SHAPE), flow(2), share=1.0, draws=draws())
    assert torch.equal(noise[:, 1, ..., 2:], noise[:, 0, ..., :-2])
    assert torch.equal(noise[:, 2, ..., 4:], noise[:, 0, ..., :-4])
    assert abs(float(noise.std()) - 1) < 0.1


def test_noise_belongs_to_the_sample():
    both = transport_noise(torch.zeros(2, *SHAPE), flow(1), share=1.0, draws=draws())
    alone = transport_noise(torch.zeros(1, *SHAPE), flow(1, 1), share=1.0, draws=draws([6]))
    assert torch.equal(both[1:], alone)


def test_a_share_of_the_sequences_is_transported():
    samples = range(40)
    noise = transport_noise(torch.zeros(40, *SHAPE), flow(1, 40), share=0.5, draws=draws(samples))
    transported = sum(bool(sequence.any()) for sequence in noise)
    assert 10 < transported < 30
