"""The critic: its two losses never move the other side's weights, and it learns to tell two kinds of pictures apart."""

from __future__ import annotations

import torch

from dgafvsr.training.adversarial import Critic


def _features(kind: float, *, learns: bool = False) -> list[torch.Tensor]:
    """Maps of two levels; the kind tips the balance of the channels."""
    generator = torch.Generator().manual_seed(int(10 * kind) + 3)
    maps = [torch.randn(4, channels, 8, 8, generator=generator) for channels in (4, 6)]
    for features in maps:
        features[:, 0] += kind
        features.requires_grad_(learns)
    return maps


def test_the_critic_s_loss_moves_the_heads_alone() -> None:
    torch.manual_seed(0)
    critic, fake = Critic((4, 6), width=8), _features(0.0, learns=True)
    critic.terms(fake, _features(2.0)).critic.backward()
    assert all(parameter.grad is not None for parameter in critic.parameters())
    assert all(features.grad is None for features in fake)


def test_the_texture_loss_moves_the_picture_alone() -> None:
    torch.manual_seed(0)
    critic, fake = Critic((4, 6), width=8), _features(0.0, learns=True)
    critic.terms(fake, _features(2.0)).texture.backward()
    assert all(parameter.grad is None for parameter in critic.parameters())
    assert all(features.grad is not None and features.grad.abs().sum() > 0 for features in fake)
    assert all(parameter.requires_grad for parameter in critic.parameters())


def test_the_critic_learns_to_tell_two_kinds_apart() -> None:
    torch.manual_seed(0)
    critic = Critic((4, 6), width=8)
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-2)
    before = critic.terms(_features(0.0), _features(2.0)).critic.item()
    for _ in range(60):
        optimizer.zero_grad()
        critic.terms(_features(0.0), _features(2.0)).critic.backward()
        optimizer.step()
    after = critic.terms(_features(0.0), _features(2.0)).critic.item()
    assert before > 1.5
    assert after < 0.5
    assert min(logits.mean().item() for logits in critic(_features(2.0))) > 0
    assert max(logits.mean().item() for logits in critic(_features(0.0))) < 0


def test_unequal_lengths_of_features_tell_nothing() -> None:
    """Only the direction of a feature counts, as in LPIPS: a brighter copy of a real picture is as real."""
    torch.manual_seed(0)
    critic = Critic((4, 6), width=8).eval()
    real = _features(2.0)
    for plain, brighter in zip(critic(real), critic([3 * features for features in real]), strict=True):
        torch.testing.assert_close(plain, brighter)
