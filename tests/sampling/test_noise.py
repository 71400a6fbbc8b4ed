import torch

from dgafvsr.sampling.noise import KeyedNoise, SequentialNoise, initial_latents

SHAPE = (4, 3, 5)


def test_noise_belongs_to_the_frames_index_whatever_the_window():
    whole = initial_latents(KeyedNoise(seed=9), 6, SHAPE)
    window = initial_latents(KeyedNoise(seed=9, first_frame=2), 3, SHAPE)
    assert torch.equal(whole[2:5], window)


def test_shared_noise_is_the_same_for_every_frame_and_window():
    first = initial_latents(KeyedNoise(seed=9, initial_noise="shared"), 3, SHAPE)
    later = initial_latents(KeyedNoise(seed=9, first_frame=7, initial_noise="shared"), 2, SHAPE)
    assert torch.equal(first[0], first[2])
    assert torch.equal(first[:2], later)


def test_frames_steps_purposes_and_seeds_draw_differently():
    noise = KeyedNoise(seed=1)
    generators = [noise.initial(0), noise.initial(1), noise.step(0, 0), noise.step(1, 0), KeyedNoise(seed=2).initial(0)]
    draws = torch.stack([torch.randn(8, generator=generator) for generator in generators])
    assert len(draws.unique(dim=0)) == len(draws)


def test_initial_latents_are_standard_normal():
    latents = initial_latents(KeyedNoise(seed=0), 40, (4, 20, 30))
    assert abs(latents.mean()) < 0.01
    assert abs(latents.std() - 1) < 0.01


def test_sequential_noise_draws_in_order_from_one_generator():
    noise = SequentialNoise(torch.Generator().manual_seed(3))
    reference = torch.Generator().manual_seed(3)
    expected = torch.cat([torch.randn(1, *SHAPE, generator=reference) for _ in range(2)])
    assert torch.equal(initial_latents(noise, 2, SHAPE), expected)
    assert noise.step(5, 1) is noise.generator
