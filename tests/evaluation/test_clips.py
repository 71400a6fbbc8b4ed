from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dgafvsr.errors import InputError, UsageError
from dgafvsr.evaluation.clips import FrameChoice, discover_clips, name_predictions, plan_clips, read_pictures
from tests.evaluation.pictures import smooth_clip, write_clip

ALL = FrameChoice()


@given(st.integers(1, 30), st.integers(0, 5), st.integers(0, 5), st.none() | st.integers(1, 40))
def test_choice_is_a_slice_of_the_inner_frames(count, first, last, limit):
    choice = FrameChoice(skip_first=first, skip_last=last, max_frames=limit)
    assert list(choice.of(count)) == list(range(count))[first : max(count - last, 0)][:limit]


def test_single_clips_match_whatever_their_names(tmp_path):
    clip = smooth_clip(t=3)
    write_clip(tmp_path / "a", clip)
    write_clip(tmp_path / "b", clip)
    (plan,) = plan_clips({"ours": tmp_path / "a"}, tmp_path / "b", choice=ALL)
    assert (plan.name, plan.frames, plan.height, plan.width) == ("b", range(3), 40, 52)
    assert plan.predictions == {"ours": tmp_path / "a"}


def test_folders_of_clips_match_by_name(tmp_path):
    for side in ("sr", "gt"):
        for name in ("walk", "city"):
            write_clip(tmp_path / side / name, smooth_clip(t=2))
    plans = plan_clips({"ours": tmp_path / "sr"}, tmp_path / "gt", choice=ALL)
    assert [plan.name for plan in plans] == ["city", "walk"]
    (chosen,) = plan_clips({"ours": tmp_path / "sr"}, tmp_path / "gt", choice=ALL, clips=("walk",))
    assert chosen.predictions["ours"] == tmp_path / "sr" / "walk"


def test_missing_and_extra_clips_are_named(tmp_path):
    for side, names in (("sr", ("city", "walk")), ("gt", ("city", "foliage"))):
        for name in names:
            write_clip(tmp_path / side / name, smooth_clip(t=1))
    with pytest.raises(InputError, match="ours has no clip foliage"):
        plan_clips({"ours": tmp_path / "sr"}, tmp_path / "gt", choice=ALL)
    with pytest.raises(UsageError, match="no clip sea"):
        plan_clips({"ours": tmp_path / "sr"}, tmp_path / "gt", choice=ALL, clips=("sea",))
    write_clip(tmp_path / "sr" / "foliage", smooth_clip(t=1))
    with pytest.raises(InputError, match="truth lacks: walk"):
        plan_clips({"ours": tmp_path / "sr"}, tmp_path / "gt", choice=ALL)
    assert len(plan_clips({"ours": tmp_path / "sr"}, tmp_path / "gt", choice=ALL, clips=("city", "foliage"))) == 2


def test_differing_counts_are_refused_unless_the_limit_hides_them(tmp_path):
    write_clip(tmp_path / "sr", smooth_clip(t=3))
    write_clip(tmp_path / "gt", smooth_clip(t=4))
    with pytest.raises(InputError, match="3 and 4"):
        plan_clips({"ours": tmp_path / "sr"}, tmp_path / "gt", choice=ALL)
    (plan,) = plan_clips({"ours": tmp_path / "sr"}, tmp_path / "gt", choice=FrameChoice(max_frames=3))
    assert plan.frames == range(3)


def test_differing_sizes_are_refused(tmp_path):
    write_clip(tmp_path / "sr", smooth_clip(t=1, height=36))
    write_clip(tmp_path / "gt", smooth_clip(t=1))
    with pytest.raises(InputError, match=r"52x36\..*52x40"):
        plan_clips({"ours": tmp_path / "sr"}, tmp_path / "gt", choice=ALL)


def test_names_out_of_step_are_refused_and_shifted_names_noted(tmp_path):
    write_clip(tmp_path / "gt", smooth_clip(t=3))
    write_clip(tmp_path / "shifted", smooth_clip(t=3), first=1, pattern="Frame {:03d}.png")
    (plan,) = plan_clips({"ours": tmp_path / "shifted"}, tmp_path / "gt", choice=ALL)
    assert "+1" in plan.notes[0]
    write_clip(tmp_path / "gap", smooth_clip(t=3))
    (tmp_path / "gap" / "00000002.png").rename(tmp_path / "gap" / "00000005.png")
    with pytest.raises(InputError, match=r"00000005\.png beside 00000002\.png"):
        plan_clips({"ours": tmp_path / "gap"}, tmp_path / "gt", choice=ALL)


def test_unreadable_picture_is_named_before_computing(tmp_path):
    write_clip(tmp_path / "sr", smooth_clip(t=3))
    write_clip(tmp_path / "gt", smooth_clip(t=3))
    broken = tmp_path / "sr" / "00000001.png"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(InputError, match=r"00000001\.png"):
        plan_clips({"ours": tmp_path / "sr"}, tmp_path / "gt", choice=ALL)


def test_places_without_clips_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        discover_clips(tmp_path / "absent")
    with pytest.raises(InputError, match="holds no clips"):
        discover_clips(tmp_path)


def test_pictures_are_read_back_exactly(tmp_path):
    written = write_clip(tmp_path / "gt", smooth_clip(t=4))
    assert torch.equal(torch.cat(list(read_pictures(tmp_path / "gt", range(1, 3)))), written[1:3])


def test_predictions_are_named_by_argument_or_path(tmp_path):
    (tmp_path / "odd=name").mkdir()
    named = name_predictions(["ours=runs/7/out", "runs/bicubic", str(tmp_path / "odd=name")])
    assert named == {"ours": Path("runs/7/out"), "bicubic": Path("runs/bicubic"), "odd=name": tmp_path / "odd=name"}


@pytest.mark.parametrize(("arguments", "message"), [(["a/x", "b/x"], "NAME=PATH"), ([], "nothing to score")])
def test_ambiguous_predictions_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        name_predictions(arguments)
