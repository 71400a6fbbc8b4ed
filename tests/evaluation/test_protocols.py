import pytest
import torch

from dgafvsr.errors import UsageError
from dgafvsr.evaluation.protocols import PROTOCOLS, Protocol, get_protocol, studio_luma


def test_luma_of_black_white_and_the_primaries_is_studio_range():
    colors = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    luma = studio_luma(colors[:, :, None, None]).flatten() * 255
    expected = torch.tensor([16, 235, 81.481, 144.553, 40.966], dtype=torch.float64)
    torch.testing.assert_close(luma, expected)


def test_view_crops_and_picks_the_color_space_of_the_metric():
    pictures = torch.rand(2, 3, 10, 14)
    protocol = Protocol(name="test", luma_metrics=("psnr",), crop_border=2)
    assert torch.equal(protocol.view(pictures, "lpips"), pictures[..., 2:-2, 2:-2])
    luma = protocol.view(pictures, "psnr")
    assert luma.shape == (2, 3, 6, 10)
    torch.testing.assert_close(luma[:, 1:2], studio_luma(pictures)[..., 2:-2, 2:-2])


def test_whole_picture_cropped_away_is_refused():
    with pytest.raises(UsageError, match="crops everything"):
        Protocol(name="test", crop_border=5).view(torch.rand(1, 3, 10, 14), "psnr")


def test_papers_protocols_carry_the_authors_quirks_and_the_standard_none():
    assert list(PROTOCOLS) == ["standard", "paper-reds4", "paper-vid4"]
    standard, reds4, vid4 = PROTOCOLS.values()
    assert standard.flow_mode.signed
    assert not standard.flow_mode.train
    for paper in (reds4, vid4):
        assert not paper.flow_mode.signed
        assert paper.flow_mode.train
        assert paper.flow == "raft_large"
    assert reds4.luma_metrics == ()
    assert vid4.luma_metrics == ("psnr", "ssim", "lpips", "dists")


def test_another_flow_shows_in_the_name():
    assert get_protocol("standard").with_flow("dis").name == "standard, dis flow"
    assert get_protocol("standard").with_flow("raft_large") is get_protocol("standard")


def test_changed_values_show_in_the_name():
    standard = get_protocol("standard")
    assert standard.changed() == standard
    assert standard.changed(crop_border=0, luma_metrics=()) == standard
    own = standard.changed(luma_metrics=("psnr", "ssim"), crop_border=8, skip_first=2, skip_last=1)
    assert own.name == "standard, Y for psnr+ssim, crop 8, without the first 2, without the last 1"
    assert (own.luma_metrics, own.crop_border, own.skip_first, own.skip_last) == (("psnr", "ssim"), 8, 2, 1)
    assert get_protocol("paper-vid4").changed(luma_metrics=()).name == "paper-vid4, RGB for all"
    with pytest.raises(UsageError, match="crop"):
        standard.changed(crop_border=-1)


def test_unknown_protocol_lists_the_protocols():
    with pytest.raises(UsageError, match="paper-reds4"):
        get_protocol("mine")


def test_negative_settings_are_refused():
    with pytest.raises(UsageError, match="crop"):
        Protocol(name="test", crop_border=-1)
