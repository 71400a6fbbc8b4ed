from __future__ import annotations

from dataclasses import replace

import pytest
from toys import CONFIG

from dgafvsr.errors import UsageError
from dgafvsr.training.settings import learning_rate_at


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_learning_rate_rises_then_falls_to_its_share(schedule):
    config = replace(CONFIG, steps=100, warmup_steps=10, final_rate=0.1, schedule=schedule)
    rates = [learning_rate_at(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(1e-3)
    assert max(rates) == pytest.approx(1e-2)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(1e-3, rel=0.11)


def test_linear_schedule_is_a_line():
    config = replace(CONFIG, steps=101, warmup_steps=1, final_rate=0.0, schedule="linear")
    assert learning_rate_at(51, config) == pytest.approx(5e-3)


def test_constant_schedule_stays_at_the_peak():
    config = replace(CONFIG, steps=100, warmup_steps=0, schedule="constant")
    assert {learning_rate_at(step, config) for step in (0, 50, 99)} == {1e-2}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("micro_batch", 0),
        ("workers", -1),
        ("learning_rate", 0.0),
        ("clip_norm", 0.0),
        ("average_decay", 1.0),
        ("betas", (2.0, 0.9)),
        ("final_rate", -1.0),
        ("weight_decay", -1.0),
        ("seed", -1),
        ("precision", "fp8"),
        ("schedule", "steps"),
        ("optimizer", "sgd"),
    ],
)
def test_impossible_settings_are_refused(field, value):
    with pytest.raises(UsageError, match=field):
        replace(CONFIG, **{field: value})
