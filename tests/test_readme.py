"""The figures in the README are those of the committed results."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
ROW = re.compile(
    r"\| (\w+) \| ([\w ]+) \| ([\d.]+) -> ([\d.]+) \| ([+-][\d.]+) \| ([+-][\d.]+) \| (\d+) % \|"
)


def rows():
    return [match.groups() for match in ROW.finditer((ROOT / "README.md").read_text("utf-8"))]


def test_the_table_is_there():
    assert {row[0] for row in rows()} == {"cbsd68", "rain100l", "synthetic", "bundled"}
    assert len(rows()) == 14


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]}-{row[1]}")
def test_a_row_is_what_was_measured(row):
    suite, label, *figures = row
    result = json.loads((RESULTS / f"s-litert-fp32-{suite}.json").read_text("utf-8"))
    (measured,) = [s for s in result["summary"] if s["label"] == label]
    assert figures == [
        f"{measured['psnr_before']:.2f}",
        f"{measured['psnr_after']:.2f}",
        f"{measured['gain']:+.2f}",
        f"{measured['worst_gain']:+.2f}",
        f"{measured['routed'] * 100:.0f}",
    ]


def test_results_are_of_the_shipped_student():
    card = json.loads((ROOT / "weights/s.json").read_text("utf-8"))
    for path in RESULTS.glob("s-litert-fp32-*.json"):
        assert json.loads(path.read_text("utf-8"))["model"]["digest"] == card["digest"]
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"{card['parameters']:,} parameters" in readme
    assert f"{card['macs_256x256'] / 1e9:.2f} GMAC" in readme
