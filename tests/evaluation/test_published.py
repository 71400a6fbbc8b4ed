import pytest

from dgafvsr.evaluation.published import published_rows

REDS4 = ("000", "011", "015", "020")
VID4 = ("calendar", "city", "foliage", "walk")
VIDEOLQ = [f"{index:03d}" for index in range(50)]


def test_rows_fit_protocol_and_clips():
    assert published_rows("standard", ("calendar",)) == ()
    assert published_rows("paper-vid4", ("bus",)) == ()
    assert published_rows("paper-vid4, crop 8", VID4) == ()
    assert [row.name for row in published_rows("paper-vid4", VID4)] == ["DGAF-VSR (published)", "StableVSR (published)"]
    (part,) = published_rows("paper-vid4", ("calendar", "city"))
    assert part.values["psnr"] == pytest.approx((22.063 + 26.075) / 2)
    assert len(published_rows("paper-reds4", REDS4)) == 3
    assert published_rows("paper-reds4", REDS4[:2]) == ()


def test_metrics_without_truth_are_published_too_and_gaps_stay_gaps():
    ours, stable, _ = published_rows("paper-reds4", REDS4)
    assert (ours.values["musiq"], ours.values["clipiqa"], ours.values["niqe"]) == (67.90, 0.429, 2.66)
    assert (ours.values["tlpips"], ours.values["tof"]) == (3.92, 2.714)
    assert stable.values["musiq"] == 67.62
    assert "clipiqa" not in stable.values
    assert stable.values["tlpips"] == 5.63


def test_videolq_has_rows_only_without_truth():
    rows = published_rows("standard", VIDEOLQ, truth=False)
    assert [(row.values["musiq"], row.values["clipiqa"]) for row in rows] == [(59.05, 0.498), (54.59, 0.313)]
    assert published_rows("standard", VIDEOLQ) == ()
    assert published_rows("standard", VIDEOLQ[:5], truth=False) == ()


def test_flow_of_tof_is_part_of_the_number():
    own, other = (published_rows(name, VID4)[0].values for name in ("paper-vid4", "paper-vid4, dis flow"))
    assert set(own) - set(other) == {"tof"}


def test_mean_of_the_published_clips_is_the_published_mean():
    clips = [published_rows("paper-vid4", (clip,))[0].values for clip in VID4]
    whole = published_rows("paper-vid4", VID4)[0].values
    for name, decimals in (("psnr", 0.006), ("ssim", 6e-4), ("lpips", 6e-4), ("dists", 6e-4)):
        assert sum(values[name] for values in clips) / 4 == pytest.approx(whole[name], abs=decimals)
