import pytest

from dgafvsr.errors import UsageError
from dgafvsr.sampling.presets import FEW_STEPS, PRESETS, SamplingChoice, SamplingSettings, preset
from dgafvsr.sampling.reuse import Reuse


def test_what_is_asked_for_wins_over_what_comes_next():
    asked, base = SamplingChoice(steps=3, turns="guided"), SamplingChoice(steps=9, solver="unipc")
    assert asked.over(base) == SamplingChoice(steps=3, turns="guided", solver="unipc")
    own = SamplingSettings(steps=50, initial_noise="shared")
    settled = asked.over(base).on(own)
    assert settled == SamplingSettings(steps=3, turns="guided", solver="unipc", initial_noise="shared")
    assert SamplingChoice().on(own) == own


def test_false_is_asked_for_too():
    assert not SamplingChoice(guided=False).on(SamplingSettings(steps=2)).guided


@pytest.mark.parametrize("steps", [1, FEW_STEPS, FEW_STEPS + 1, 50])
def test_every_preset_is_a_setting_of_every_model(steps):
    own = SamplingSettings(steps=steps)
    settled = {quality: preset(quality, steps).on(own) for quality in ("fast", "balanced", "best")}
    assert settled["best"] == own  # the model as it was trained
    assert settled["best"] not in (settled["fast"], settled["balanced"])
    assert settled["fast"] != settled["balanced"] or steps == FEW_STEPS + 1  # both are capped at so few steps
    assert all(each.guided for each in settled.values())  # a video tool's fast way is still one for videos
    assert settled["fast"].steps <= settled["balanced"].steps <= settled["best"].steps


def test_presets_of_few_steps_save_by_what_they_say():
    fast, balanced = (
        preset(quality, 2).on(SamplingSettings(steps=2, turns="guided")) for quality in ("fast", "balanced")
    )
    assert fast.reuse.guided_steps(2) == {1}
    assert balanced.reuse.guided_steps(2) == {0, 1}
    assert (fast.reuse.features_every, balanced.reuse.features_every) == (1, 2)
    assert (fast.turns, balanced.turns) == ("unguided", "guided")
    assert (fast.flow_scale, balanced.flow_scale) == (1, 2)


def test_kinds_and_names_are_complete():
    assert set(PRESETS) == {"few", "many"}
    assert all(set(each) == {"fast", "balanced", "best"} for each in PRESETS.values())


def test_no_preset_is_nothing():
    assert preset(None, 2) == SamplingChoice()


@pytest.mark.parametrize(
    "wrong",
    [{"solver": "euler"}, {"turns": "left"}, {"flow_scale": 3}, {"initial_noise": "loud"}],
)
def test_names_that_there_are_not_are_refused_at_once(wrong):
    with pytest.raises(UsageError, match=str(next(iter(wrong.values())))):
        SamplingChoice(**wrong)


def test_unknown_quality_is_refused():
    with pytest.raises(UsageError, match="fast or balanced or best"):
        preset("good", 2)


def test_choices_can_be_told_apart():
    assert SamplingChoice(reuse=Reuse()) != SamplingChoice()
    assert SamplingChoice(reuse=Reuse()).asked == {"reuse": Reuse()}
