from __future__ import annotations

import torch

from dgafvsr.training.draws import Draws


def test_draws_belong_to_the_sample_not_to_the_batch():
    whole = Draws(3, [10, 11, 12], step=5)
    alone = [Draws(3, [index], step=5) for index in (10, 11, 12)]
    for draw in (lambda d: d.normal(2, 4), lambda d: d.uniform(), lambda d: d.integers(1000)):
        assert torch.equal(draw(whole), torch.cat([draw(each) for each in alone]))


def test_other_samples_and_seeds_draw_other_numbers():
    first = Draws(0, [0, 1]).normal(50)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], Draws(1, [0]).normal(50)[0])
    assert abs(float(Draws(0, range(40)).normal(100).std()) - 1) < 0.05


def test_decisions_of_a_step_are_shared_and_frequent_as_asked():
    decided = [Draws(0, [7 * step], step=step).together(0.3) for step in range(400)]
    assert decided == [Draws(0, [7 * step + 1, 5], step=step).together(0.3) for step in range(400)]
    assert 0.2 < sum(decided) / 400 < 0.4
    assert not any(Draws(0, [0], step=step).together(0.0) for step in range(50))
