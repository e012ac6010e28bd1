"""The table and the JSON of an evaluation."""

import io
import json
import math
from pathlib import Path

import numpy
import pytest
from rich.console import Console

from cpl_edge.evaluate.report import as_json, machine, published_table, summary_table, versions
from cpl_edge.evaluate.run import Row, summarise
from cpl_edge.evaluate.suites import load_suite
from cpl_edge.runtimes.info import ModelInfo

INFO = ModelInfo(
    student="s", target="litert", precision="fp32", routing="auto", pinned=None, height=256,
    width=256, layout="NHWC", halo=32, multiple=4, degradations=("noise", "rain"), levels=3,
    sites=1, entry_points=("forward", "route", "restore"), digest="ab" * 32,
)  # fmt: skip


@pytest.fixture
def suite():
    return load_suite("cbsd68")


@pytest.fixture
def rows():
    return [
        Row("101085", "noise 15", "noise", "noise", 24.6, 33.5, 0.6, 0.9, 0.5, 153_600),
        Row("101087", "noise 15", "noise", "rain", 24.6, 30.5, 0.6, 0.9, 0.5, 153_600),
        Row("101085", "noise 25", "noise", "noise", 20.5, 20.25, 0.4, 0.3, 0.5, 153_600),
    ]


def text(*renderables):
    file = io.StringIO()
    console = Console(file=file, width=150)
    for renderable in renderables:
        console.print(renderable)
    return file.getvalue()


def test_table_tells_gain_worst_image_and_routing(suite, rows):
    table = text(summary_table(suite, summarise(rows, INFO.degradations), "s.tflite, 1 thread"))
    assert "s.tflite, 1 thread" in table and "published protocol" in table
    line = next(line for line in table.splitlines() if "noise 15" in line)
    for cell in ("24.60 -> 32.00", "+7.40", "0.6000 -> 0.9000", "101087 +5.90", "50%", "3255"):
        assert cell in line


def test_what_got_worse_is_said(suite, rows):
    lines = text(summary_table(suite, summarise(rows, INFO.degradations), "")).splitlines()
    worse = next(line for line in lines if "noise 25" in line)
    assert "-0.25 WORSE" in worse
    assert not any("WORSE" in line for line in lines if line != worse)


def test_table_without_ssim(suite, rows):
    suite = suite.model_copy(update={"metrics": ("psnr",)})
    assert "SSIM" not in text(summary_table(suite, summarise(rows, INFO.degradations), ""))


def test_published_figures_with_their_remark(suite, rows):
    summaries = summarise(rows, INFO.degradations)
    published = text(published_table(suite, summaries))
    ours = next(line for line in published.splitlines() if "this model" in line)
    cpl = next(line for line in published.splitlines() if " CPL " in line)
    assert "32.00" in ours and "20.25" in ours
    assert "34.15" in cpl and "31.50" in cpl
    assert "Training data differ" in published
    assert published_table(load_suite("bundled"), summaries) is None


def test_json_is_complete_and_standard(suite, rows):
    rows.append(Row("x", "noise 50", "noise", None, math.inf, math.inf, 1.0, 1.0, 0.1, 256))
    result = as_json(
        suite, rows, summarise(rows, INFO.degradations), Path("some/where/s.tflite"), INFO,
        {"threads": 1, "degradation": "auto"},
    )  # fmt: skip
    read = json.loads(json.dumps(result, allow_nan=False))
    assert read["suite"]["name"] == "cbsd68"
    assert read["model"]["digest"] == INFO.digest and read["model"]["file"] == "s.tflite"
    assert read["settings"] == {"threads": 1, "degradation": "auto"}
    assert [row["image"] for row in read["rows"]] == ["101085", "101087", "101085", "x"]
    assert read["rows"][0]["gain"] == pytest.approx(8.9)
    assert read["rows"][3]["psnr_before"] is None and read["rows"][3]["gain"] == 0
    assert [s["label"] for s in read["summary"]] == ["noise 15", "noise 25", "noise 50"]
    assert read["summary"][1]["worst_gain"] == pytest.approx(-0.25)
    assert read["versions"]["numpy"] == numpy.__version__
    assert "T" in read["date"] and read["date"].endswith("+00:00")
    assert "some/where" not in json.dumps(read)


def test_machine_and_versions_are_told():
    told = machine()
    assert told["processor"] and told["cores"] >= 1 and told["architecture"] and told["python"]
    assert {"cpl-edge", "numpy", "scikit-image"} <= set(versions())
