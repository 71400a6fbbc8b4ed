import pytest

from dgafvsr.analysis.report import to_markdown
from dgafvsr.analysis.warping import Kept, Variant, WarpingResult, WarpingSettings
from dgafvsr.analysis.warping_report import PAPER, is_monotonic, plot_warping, report_warping


def result(edges):
    """What the paper would have measured: `edges` is the edge intensity that up-warp-down keeps, by s."""
    variants = {Variant(method="direct", convention="released"): Kept(edge=0.8732, high_pass=0.9466, alignment_error=1)}
    for scale, edge in edges.items():
        common = {"convention": "released", "scale": scale, "rescaling": "nearest"}
        variants[Variant(method="high_resolution", **common)] = Kept(edge=0.9562, high_pass=0.9825, alignment_error=1)
        variants[Variant(method="up_warp_down", **common)] = Kept(edge=edge, high_pass=0.98853, alignment_error=0.5)
    return WarpingResult(features=9, skipped=2, kept=variants)


def report(edges):
    settings = WarpingSettings(scales=(1, *edges), rescalings=("nearest",), conventions=("released",))
    return report_warping(result(edges), result(edges), source="test", settings=settings)


def test_the_papers_numbers_come_out_of_the_papers_measurements():
    summary, every = report({4: 0.8732 * 1.0998, 8: 0.9}).sections
    for row, paper in zip(summary.rows, PAPER.values(), strict=False):
        assert row[1] == paper
        assert row[2] == pytest.approx(paper, abs=0.01)
    assert summary.rows[-2][1:] == ("no", "no")
    assert summary.rows[-1][1:] == ("no", "yes")  # high-pass: 0.9466, then 0.98853 twice
    assert len(every.rows) == 5


def test_what_was_not_measured_is_a_dash():
    summary = report({2: 0.9}).sections[0]
    assert [row[2] for row in summary.rows] == [
        pytest.approx(-12.68),
        None,
        None,
        pytest.approx(-5.34),
        None,
        None,
        None,
        None,
    ]
    assert "| - |" in to_markdown(report({2: 0.9}))


def test_what_does_not_depend_on_s_is_told_as_flat():
    assert report({4: 0.8735, 8: 0.873}).sections[0].rows[-2][2] == "flat"


@pytest.mark.parametrize(("values", "expected"), [([1, 2, 2], True), ([3, 1], True), ([1, 3, 2], False)])
def test_monotonic(values, expected):
    assert is_monotonic(values) is expected


def test_plot_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    plot_warping(result({4: 0.9}), result({4: 0.9}), tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 10_000
