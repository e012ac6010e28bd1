"""The tables and the JSON of an evaluation."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from rich.console import Console

from cpl_edge.evaluate.report import print_tables, to_json
from cpl_edge.evaluate.rows import Row, summarise
from cpl_edge.evaluate.run import Evaluation
from cpl_edge.evaluate.suites import load_suite
from cpl_edge.runtimes.info import ModelInfo

INFO = ModelInfo(
    student="s", target="litert", precision="fp32", routing="auto", pinned=None, height=256,
    width=256, layout="NHWC", halo=32, multiple=4, degradations=("noise", "rain"), levels=3,
    sites=1, entry_points=("forward", "route", "restore"), digest="ab" * 32,
)  # fmt: skip
ROWS = (
    Row("101085", "noise 15", "noise", "noise", 24.6, 33.5, 0.6, 0.9, 0.5, 153_600),
    Row("101087", "noise 15", "noise", "rain", 24.6, 30.5, 0.6, 0.9, 0.5, 153_600),
    Row("101085", "noise 25", "noise", "noise", 20.5, 20.25, 0.4, 0.3, 0.5, 153_600),
)


@pytest.fixture
def evaluation():
    return with_rows(ROWS)


def with_rows(rows, suite="cbsd68", **values):
    return Evaluation(
        suite=load_suite(suite), model=Path("some/where/s.tflite"), info=INFO, degradation="auto",
        threads=1, limit=0, rows=rows, summaries=tuple(summarise(rows, INFO.degradations)),
    )  # fmt: skip


def text(evaluation, width=150):
    file = io.StringIO()
    print_tables(evaluation, Console(file=file, width=width))
    return file.getvalue()


def test_table_tells_gain_worst_image_and_routing(evaluation):
    table = text(evaluation)
    assert "published protocol" in table and "s.tflite, litert fp32, 1 thread" in table
    line = next(line for line in table.splitlines() if "noise 15" in line and "->" in line)
    for cell in ("24.60 -> 32.00", "+7.40", "0.600 -> 0.900", "101087 +5.90", "50%", "3255"):
        assert cell in line


def test_what_the_model_was_told_is_said(evaluation):
    assert "told" not in text(evaluation)
    assert "2 threads, told the degradation: oracle" in text(
        replace(evaluation, degradation="oracle", threads=2)
    )


def test_what_got_worse_is_said(evaluation):
    lines = text(evaluation).splitlines()
    worse = next(line for line in lines if "noise 25" in line and "->" in line)
    assert "-0.25 WORSE" in worse
    assert not any("WORSE" in line for line in lines if line != worse)


def test_table_fits_a_narrow_terminal():
    lines = text(with_rows(ROWS), width=80).splitlines()
    assert max(map(len, lines)) <= 80
    for cell in ("24.60 -> 32.00", "20.50 -> 20.25", "WORSE", "ms/MP", "3255"):
        assert any(cell in line for line in lines)


def test_table_without_ssim(evaluation):
    suite = evaluation.suite.model_copy(update={"metrics": ("psnr",)})
    assert "SSIM" in text(evaluation)
    assert "SSIM" not in text(replace(evaluation, suite=suite))


def test_lpips_where_it_was_measured(evaluation):
    assert "LPIPS" not in text(evaluation)
    read = to_json(evaluation)
    assert read["lpips"] is None and read["summary"][0]["lpips_after"] is None
    rows = [replace(row, lpips_before=0.5, lpips_after=0.0625 * i) for i, row in enumerate(ROWS, 1)]
    about = {"network": "AlexNet", "version": "0.1", "weights": "a.pth", "sha256": "ab" * 32}
    measured = replace(with_rows(rows), lpips=about)
    lines = text(measured).splitlines()
    start = next(i for i, line in enumerate(lines) if "LPIPS (less is better)" in line)
    assert lines[start + 3].split() == ["noise", "15", "0.500", "->", "0.094"]
    assert lines[start + 4].split() == ["noise", "25", "0.500", "->", "0.188"]
    assert max(map(len, text(measured, width=80).splitlines())) <= 80
    read = json.loads(json.dumps(to_json(measured), allow_nan=False))
    assert read["lpips"] == about
    assert [row["lpips_after"] for row in read["rows"]] == [0.0625, 0.125, 0.1875]
    assert read["summary"][0]["lpips_before"] == 0.5
    assert read["summary"][0]["lpips_after"] == pytest.approx(0.09375)


def test_published_figures_with_their_remark(evaluation):
    lines = text(evaluation).splitlines()
    ours = next(line for line in lines if "this model" in line)
    cpl = next(line for line in lines if line.split()[:1] == ["CPL"])
    assert "32.00" in ours and "20.25" in ours
    assert "34.15" in cpl and "31.50" in cpl and "28.23" not in cpl
    assert "Training data differ" in lines[-1]
    assert "published" not in text(with_rows(ROWS, suite="bundled"))


def test_json_is_complete_and_standard():
    same = Row("x", "noise 50", "noise", None, math.inf, math.inf, 1.0, 1.0, 0.1, 256)
    read = json.loads(json.dumps(to_json(with_rows((*ROWS, same))), allow_nan=False))
    assert read["suite"]["name"] == "cbsd68"
    assert read["model"]["digest"] == INFO.digest and read["model"]["file"] == "s.tflite"
    assert (read["threads"], read["degradation"], read["limit"]) == (1, "auto", 0)
    assert [row["image"] for row in read["rows"]] == ["101085", "101087", "101085", "x"]
    assert read["rows"][0]["gain"] == pytest.approx(8.9)
    assert read["rows"][3]["psnr_before"] is None and read["rows"][3]["gain"] == 0
    assert [s["label"] for s in read["summary"]] == ["noise 15", "noise 25", "noise 50"]
    assert read["summary"][1]["worst_gain"] == pytest.approx(-0.25)
    assert read["versions"]["numpy"] == numpy.__version__
    assert read["machine"]["processor"] and read["machine"]["cores"] >= 1
    assert "T" in read["date"] and read["date"].endswith("+00:00")
    assert "some/where" not in json.dumps(read)


def test_harm_is_told_without_infinities():
    rows = [
        Row(name, "photo", "clean", selected, math.inf, after, 1.0, 0.9, 0.5, 100)
        for name, after, selected in (("a", 40.0, "noise"), ("b", 31.0, "rain"))
    ]
    out = text(with_rows(rows, suite="clean"))
    line = next(line for line in out.splitlines() if "->" in line)
    assert "same -> 35.50" in line and "b 31.00" in line and "inf" not in out
    assert "WORSE" not in out and "routed" not in out
    read = json.loads(json.dumps(to_json(with_rows(rows, suite="clean")), allow_nan=False))
    (summary,) = read["summary"]
    assert summary["psnr_before"] is None and summary["gain"] is None
    assert summary["worst_psnr"] == 31 and summary["selected"] == {"noise": 1, "rain": 1}


def test_what_was_selected_is_shown_unless_all_was_right(evaluation):
    lines = text(evaluation).splitlines()
    start = next(i for i, line in enumerate(lines) if "selected (images)" in line)
    assert lines[start + 1].split() == ["degraded", "by", "noise", "rain"]
    assert lines[start + 3].split() == ["noise", "15", "1", "1"]
    assert lines[start + 4].split() == ["noise", "25", "1", "."]
    assert "selected (images)" not in text(with_rows(ROWS[::2]))
