from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dgafvsr.errors import InputError, UsageError
from dgafvsr.evaluation.clips import discover_clips, name_predictions, plan_clips, plan_inputs, read_pictures
from dgafvsr.evaluation.probes import FrameChoice
from tests.evaluation.pictures import smooth_clip, write_clip

ALL = FrameChoice()


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
    with pytest.raises(InputError, match="gt lacks: walk"):
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


def test_predictions_of_one_name_are_refused():
    with pytest.raises(UsageError, match="NAME=PATH"):
        name_predictions(["a/x", "b/x"])


def test_nothing_to_score_is_refused(tmp_path):
    with pytest.raises(UsageError, match="nothing to score"):
        plan_clips({}, tmp_path, choice=ALL)


def test_without_truth_the_methods_must_have_the_same_clips(tmp_path):
    for side in ("a", "b"):
        for name in ("000", "001"):
            write_clip(tmp_path / side / name, smooth_clip(t=2))
    plans = plan_clips({"a": tmp_path / "a", "b": tmp_path / "b"}, None, choice=ALL)
    assert [(plan.name, plan.truth, plan.frames) for plan in plans] == [
        ("000", None, range(2)),
        ("001", None, range(2)),
    ]
    (tmp_path / "b" / "001" / "00000001.png").unlink()
    with pytest.raises(InputError, match="1 and 2"):
        plan_clips({"a": tmp_path / "a", "b": tmp_path / "b"}, None, choice=ALL)
    write_clip(tmp_path / "b" / "002", smooth_clip(t=2))
    with pytest.raises(InputError, match=r"b has clips that .*a lacks: 002"):
        plan_clips({"a": tmp_path / "a", "b": tmp_path / "b"}, None, choice=FrameChoice(max_frames=1))


def test_benchmark_folder_stands_for_its_truth(tmp_path):
    for part in ("GT", "BIx4"):
        write_clip(tmp_path / "vid4" / part / "city", smooth_clip(t=1))
    write_clip(tmp_path / "sr" / "city", smooth_clip(t=1))
    (plan,) = plan_clips({"ours": tmp_path / "sr"}, tmp_path / "vid4", choice=ALL)
    assert plan.truth == tmp_path / "vid4" / "GT" / "city"


def vimeo(root):
    """Two seven-frame clips and their list; a third is not listed."""
    for name in ("00001/0266", "00002/0001", "00002/0002"):
        write_clip(root / "sequences" / name, smooth_clip(t=7), first=1, pattern="im{}.png")
    (root / "sep_testlist.txt").write_text("00001/0266\n00002/0001\n")
    return root


def test_vimeo_is_scored_on_the_centre_frames_of_its_list(tmp_path):
    truth = vimeo(tmp_path / "vimeo")
    write_clip(tmp_path / "sr" / "00001" / "0266", smooth_clip(t=1), first=4, pattern="im{}.png")
    write_clip(tmp_path / "sr" / "00002_0001", smooth_clip(t=7), first=1, pattern="im{}.png")
    plans = plan_clips({"ours": tmp_path / "sr"}, truth, choice=ALL)
    assert [(plan.name, plan.frames) for plan in plans] == [("00001/0266", range(1)), ("00002/0001", range(1))]
    assert plans[1].truth == truth / "sequences" / "00002" / "0001" / "im4.png"
    assert plans[1].predictions["ours"] == tmp_path / "sr" / "00002_0001" / "im4.png"
    (tmp_path / "sr" / "00002_0001" / "im4.png").unlink()
    with pytest.raises(InputError, match="lacks the centre frame"):
        plan_clips({"ours": tmp_path / "sr"}, truth, choice=ALL)


def test_inputs_are_a_quarter_of_the_truth_with_as_many_frames(tmp_path):
    write_clip(tmp_path / "gt" / "city", smooth_clip(t=3, height=40, width=52))
    write_clip(tmp_path / "lr" / "city", smooth_clip(t=3, height=10, width=13))
    choice = FrameChoice(skip_first=1, max_frames=1)
    (plan,) = plan_inputs(tmp_path / "lr", tmp_path / "gt", scale=4, choice=choice)
    assert (plan.name, plan.source, plan.frames) == ("city", tmp_path / "lr" / "city", range(2))
    with pytest.raises(InputError, match=r"lr/city does not have 1/2 of the size .*13x10.*26x20"):
        plan_inputs(tmp_path / "lr", tmp_path / "gt", scale=2, choice=ALL)
    (tmp_path / "lr" / "city" / "00000002.png").unlink()
    with pytest.raises(InputError, match="2 and 3"):
        plan_inputs(tmp_path / "lr", tmp_path / "gt", scale=4, choice=ALL)
    (tmp_path / "lr" / "city").rename(tmp_path / "lr" / "town")
    with pytest.raises(InputError, match="--lr has no clip city"):
        plan_inputs(tmp_path / "lr", tmp_path / "gt", scale=4, choice=ALL, clips=("city",))


@given(st.integers(1, 20), st.integers(0, 4), st.integers(0, 4), st.none() | st.integers(1, 20))
def test_made_frames_are_chosen_like_the_truths(count, first, last, limit):
    """What `plan_inputs` makes of a clip has the same scored frames as the whole clip."""
    choice = FrameChoice(skip_first=first, skip_last=last, max_frames=limit)
    scored = choice.of(count)
    if scored:
        assert choice.of(scored.stop + last) == scored


def test_inputs_of_which_nothing_is_scored_are_refused(tmp_path):
    write_clip(tmp_path / "lr", smooth_clip(t=2, height=10, width=13))
    (plan,) = plan_inputs(tmp_path / "lr", None, scale=4, choice=FrameChoice(skip_first=1))
    assert plan.frames == range(2)
    with pytest.raises(InputError, match="Nothing of"):
        plan_inputs(tmp_path / "lr", None, scale=4, choice=FrameChoice(skip_last=2))


def test_vimeo_inputs_keep_all_seven_frames(tmp_path):
    truth = vimeo(tmp_path / "vimeo")
    for name in ("00001/0266", "00002/0001"):
        write_clip(tmp_path / "lr" / name, smooth_clip(t=7, height=10, width=13), first=1, pattern="im{}.png")
    plans = plan_inputs(tmp_path / "lr", truth, scale=4, choice=FrameChoice(max_frames=1))
    assert [plan.frames for plan in plans] == [range(7), range(7)]
