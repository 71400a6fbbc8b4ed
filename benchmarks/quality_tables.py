"""The quality tables of README.md and of the packaged model's card, rendered from `results/quality.json`.

    python benchmarks/quality_tables.py

rewrites both between their markers, without computing anything; `benchmarks/quality.py` does so after it has measured.
`tests/test_quality_tables.py` fails when a table differs from what is rendered here, or when the packaged weights are
not those that were measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "quality.json"
README, CARD = ROOT / "README.md", ROOT / "src" / "dgafvsr" / "assets" / "tiny" / "README.md"

BEGIN, END = "<!-- quality table -->", "<!-- end of the quality table -->"

OFF, ON = "packaged, guidance off", "packaged, guidance on"
ROWS = {"bicubic": "bicubic", "real-esrgan": "Real-ESRGAN x4plus", OFF: "guidance off", ON: "guidance on"}
"""Method in the results -> its row, in the tables' order; absent ones have none."""

COLUMNS = {
    "psnr": ("PSNR", 2),
    "ssim": ("SSIM", 3),
    "lpips": ("LPIPS", 3),
    "dists": ("DISTS", 3),
    "tlpips": ("tLPIPS x 1e3", 1),
    "tof": ("tOF x 10 (DIS)", 2),
    "warping": ("E_warp x 1e3", 2),
}
"""Metric -> heading and decimals."""

IN_README = ("psnr", "lpips", "dists", "tlpips", "tof")


def render_readme(result: Mapping[str, Any]) -> str:
    """The means over the clips, with a line that says of what."""
    clips = " and ".join(result["clips"])
    rows = [_row(["", *(COLUMNS[name][0] for name in IN_README)]), "|---" + "|---:" * len(IN_README) + "|"]
    for method, title in _methods(result).items():
        shown = f"packaged model, {title}" if method in (OFF, ON) else title
        rows.append(_row([shown, *(_number(result["methods"][method]["mean"], name) for name in IN_README)]))
    return "\n".join(
        [
            f"Vid4 {clips}, x4 bicubic, first {result['max_frames']} frames, mean of both; `benchmarks/quality.py` "
            "makes the table, the",
            "[model card](src/dgafvsr/assets/tiny/README.md) has it clip by clip.",
            "",
            *rows,
        ]
    )


def render_card(result: Mapping[str, Any]) -> str:
    """Every metric, clip by clip, and what guidance changes."""
    rows = [_row(["clip", "output", *(title for title, _ in COLUMNS.values())]), "|---|---" + "|---:" * 7 + "|"]
    for clip in [*result["clips"], "mean"]:
        for index, (method, title) in enumerate(_methods(result).items()):
            held = result["methods"][method]
            scores = held["mean"] if clip == "mean" else held["clips"][clip]
            rows.append(_row([clip if index == 0 else "", title, *(_number(scores, name) for name in COLUMNS)]))
    return "\n".join([*rows, "", f"Guidance changes the means by: {_gains(result)}."])


def replace_table(text: str, table: str) -> str:
    """The document with another table between its markers.

    Raises:
        SystemExit: the markers are not there, once and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in after:
        raise SystemExit(f"expected the lines {BEGIN} and {END} once, in this order")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def write_tables(results: Path = RESULTS) -> None:
    """Rewrite both documents."""
    result = json.loads(results.read_text(encoding="utf-8"))
    for document, render in ((README, render_readme), (CARD, render_card)):
        document.write_text(replace_table(document.read_text(encoding="utf-8"), render(result)), encoding="utf-8")
        print(f"wrote the table of {document.relative_to(ROOT)}")


def _methods(result: Mapping[str, Any]) -> dict[str, str]:
    return {method: title for method, title in ROWS.items() if method in result["methods"]}


def _gains(result: Mapping[str, Any]) -> str:
    off, on = (result["methods"][method]["mean"] for method in (OFF, ON))
    shares = [
        f"{COLUMNS[n][0].split(' ')[0]} {100 * (on[n] / off[n] - 1):+.0f} %" for n in ("tlpips", "tof", "warping")
    ]
    steps = [f"{COLUMNS[n][0]} {on[n] - off[n]:+.{COLUMNS[n][1]}f}" for n in ("psnr", "ssim", "lpips", "dists")]
    return ", ".join([*shares, *steps])


def _number(scores: Mapping[str, float], metric: str) -> str:
    """With as many decimals as the column has, without the zero before the point."""
    text = f"{scores[metric]:.{COLUMNS[metric][1]}f}"
    return text.removeprefix("0") if text.startswith("0.") else text


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(write_tables())
