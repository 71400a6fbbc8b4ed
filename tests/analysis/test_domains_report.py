import pytest

from dgafvsr.analysis.domains import DomainsResult, StepScores
from dgafvsr.analysis.domains_report import PAPER, plot_domains, report_domains
from dgafvsr.analysis.pair_measures import MEASURES


def result():
    """Feature values larger than pixel values by the paper's percentages, on the mean over steps of unequal size."""
    pixel = dict.fromkeys(MEASURES, 2.0)
    feature = {name: 2.0 * (1 + PAPER.get(name, 0) / 100) for name in MEASURES}
    steps = [
        StepScores(
            step=step,
            timestep=t,
            pairs=pairs,
            feature={k: v * f for k, v in feature.items()},
            pixel=pixel,
            decoded={k: 1.5 * v for k, v in pixel.items()},
        )
        for step, t, pairs, f in ((0, 999.0, 3, 1.1), (1, 500.0, 1, 0.7))
    ]
    return DomainsResult(steps=tuple(steps), normalisation="range")


def test_the_papers_differences_come_out_of_the_papers_values():
    summary, by_step = report_domains(result(), source="test", seed=3).sections
    for row, paper in zip(summary.rows, PAPER.values(), strict=False):
        assert row[4] == pytest.approx(paper)  # (3 * 1.1 + 0.7) / 4 = 1
        assert row[5] == pytest.approx(50)
        assert row[6] == paper
    assert [row[2] for row in by_step.rows] == [3, 1]


def test_the_rule_of_the_common_range_is_told():
    report = report_domains(result(), source="test")
    assert any("smallest and largest" in note for note in report.notes)
    assert report.settings["pairs"] == 4


def test_plot_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    plot_domains(result(), tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 10_000
