"""A suite through a model file, from the command line."""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from skimage.data import coffee

from cpl_edge.errors import UserError
from cpl_edge.evaluate import run
from cpl_edge.evaluate.__main__ import main
from cpl_edge.evaluate.metrics import psnr
from cpl_edge.evaluate.report import summary_table, to_json
from cpl_edge.evaluate.run import evaluate, told
from cpl_edge.evaluate.samples import find_samples
from cpl_edge.evaluate.suites import load_suite, suite_names
from cpl_edge.restore import routing
from cpl_edge.runtimes.protocol import open_runtime

KNOWN = ("noise", "rain")


@pytest.mark.parametrize(
    ("choice", "applied", "expected"),
    [("auto", "rain", "auto"), ("oracle", "rain", "rain"), ("noise", "rain", "noise")],
)
def test_what_the_model_is_told(choice, applied, expected):
    assert told(choice, applied, KNOWN) == expected


@pytest.mark.parametrize(("choice", "applied"), [("oracle", "haze+rain"), ("nois", "rain")])
def test_unknown_degradations_are_refused(choice, applied):
    with pytest.raises(UserError, match="use --degradation auto or one of noise, rain"):
        told(choice, applied, KNOWN)


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """A random student's weights, for the torch runtime."""
    torch = pytest.importorskip("torch")
    from cpl_edge.models.zoo import create_student, save_student

    student = create_student("nano")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a fresh student's blocks do nothing, whatever is selected
        for block in (*student.encoder, *student.middle, *student.decoder):
            block.project.weight.normal_(std=0.05, generator=generator)
    path = tmp_path_factory.mktemp("student") / "random.safetensors"
    save_student(student, path)
    return str(path)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "clean").mkdir()
    (tmp_path / "suite.toml").write_text(
        "name = 'tiny'\nabout = 'a test'\nimages = 'clean'\n"
        "[[degradations]]\nkind = 'gaussian'\nlabel = 'noise 25'\nsigma = 25\n"
        "[[degradations]]\nkind = 'synthetic'\nlabel = 'dark'\ndegradation = 'lowlight'\n"
    )
    for i, width in enumerate((66, 80)):
        image = np.ascontiguousarray(coffee()[i * 99 : i * 99 + 64, 200 : 200 + width])
        Image.fromarray(image).save(tmp_path / "clean" / f"{i}.png")
    return tmp_path


def test_a_random_student_through_the_command(student, data, capsys):
    report = data / "report.json"
    arguments = ["--suite", str(data / "suite.toml"), "--model", student, "--data", str(data)]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--json", str(report)])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "tiny: a test" in out and "random.safetensors, torch fp32, 1 thread" in out
    read = json.loads(report.read_text())
    assert [(row["label"], row["image"]) for row in read["rows"]] == [
        (label, image) for label in ("noise 25", "dark") for image in "01"
    ]
    assert len(read["model"]["digest"]) == 64
    known = read["model"]["degradations"]
    for row in read["rows"]:
        assert row["pixels"] == 64 * ((row["image"] == "1" and 80) or 64)
        assert row["selected"] in known and row["seconds"] > 0
        assert row["psnr_after"] != row["psnr_before"]
    noise, dark = read["summary"]
    assert 20 < noise["psnr_before"] < 21 and dark["psnr_before"] < 17
    hits = [row["selected"] == "noise" for row in read["rows"][:2]]
    assert noise["routed"] == sum(hits) / 2


def test_oracle_tells_each_image_its_degradation(student, data):
    suite = str(data / "suite.toml")
    rows = evaluate(suite, student, data, degradation="oracle").rows
    assert [row.selected for row in rows] == ["noise", "noise", "lowlight", "lowlight"]
    always = evaluate(suite, student, data, limit=1, degradation="haze")
    assert [row.selected for row in always.rows] == ["haze", "haze"]
    assert all(summary.routed is None for summary in always.summaries)
    # The same images, told differently: only what the model does may differ.
    assert always.rows[0].psnr_before == rows[0].psnr_before
    assert always.rows[0].psnr_after != rows[0].psnr_after


def test_lpips_through_the_command(student, data, capsys, monkeypatch):
    opened = []

    class Difference:
        about: ClassVar = {"weights": "alexnet.pth"}

        def __init__(self, *arguments):
            opened.append(arguments)

        def __call__(self, x_HWC, y_HWC):
            return float(np.abs(x_HWC - y_HWC).mean())

    monkeypatch.setattr(run, "Lpips", Difference)
    report = data / "report.json"
    arguments = ["--suite", str(data / "suite.toml"), "--model", student, "--data", str(data)]
    more = ["--lpips", "--lpips-weights", "some/alexnet.pth"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, *more, "--json", str(report)])
    assert stop.value.code == 0 and opened == [(Path("some/alexnet.pth"), 1)]
    assert "LPIPS" in capsys.readouterr().out
    read = json.loads(report.read_text())
    assert read["lpips"] == {"weights": "alexnet.pth"}
    for row in read["rows"]:
        assert row["lpips_before"] > 0 and row["lpips_after"] not in (0, row["lpips_before"])


def test_passes_are_counted_and_named(student, data, monkeypatch):
    suite = str(data / "suite.toml")
    once = evaluate(suite, student, data, limit=1)
    turn = itertools.count()

    def noise_then_blur(logits_SL, degradations, levels):
        return routing.forced(logits_SL, degradations, levels, next(turn) % 2)

    monkeypatch.setattr("cpl_edge.restore.restorer.routing.select", noise_then_blur)
    monkeypatch.setattr("cpl_edge.restore.passes.SURE", 0.0)
    often = evaluate(suite, student, data, limit=1, passes=5)
    assert [(row.selected, row.then) for row in often.rows] == [
        ("noise", ("blur",)),
        ("blur", ("noise",)),
    ]
    for first, last in zip(once.rows, often.rows, strict=True):
        assert last.psnr_before == first.psnr_before
        assert last.psnr_after != first.psnr_after
    assert to_json(often)["passes"] == 5
    assert "up to 5 passes" in summary_table(often).title
    with pytest.raises(UserError, match="leave the degradation at auto"):
        evaluate(suite, student, data, degradation="oracle", passes=2)


def test_a_pinned_model_is_not_judged_by_its_routing(student, data, monkeypatch):
    def open_pinned(path, threads):
        runtime = open_runtime(path, threads)
        runtime.info = replace(runtime.info, routing="pinned", pinned="noise")
        return runtime

    monkeypatch.setattr(run, "open_runtime", open_pinned)
    suite = str(data / "suite.toml")
    summaries = evaluate(suite, student, data).summaries
    assert [summary.routed for summary in summaries] == [None, None]
    with pytest.raises(UserError, match=r"no degradation 'lowlight': use .* one of noise$"):
        evaluate(suite, student, data, degradation="oracle")


def test_mistakes_are_found_before_anything_runs(student, data, monkeypatch):
    monkeypatch.setattr(run, "measure", lambda *_: pytest.fail("it ran"))
    suite = str(data / "suite.toml")
    with pytest.raises(UserError, match="knows no degradation 'fog'"):
        evaluate(suite, student, data, degradation="fog")
    text = (data / "suite.toml").read_text()
    (data / "suite.toml").write_text(text.replace("lowlight", "lowlight+fog"))
    with pytest.raises(UserError, match="suite 'tiny': no degradation 'fog'; there are noise"):
        evaluate(suite, student, data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: choose a suite with --suite NAME; --list shows them"),
        (["--suite", "cbsd86"], "error: no suite 'cbsd86': did you mean 'cbsd68'?"),
        (["--suite", "cbsd68"], "set --data or CPL_EDGE_DATA to a folder that holds cbsd68/"),
        (["--lpips-weights", "a.pth"], "--lpips-weights is read for --lpips: add --lpips"),
        (["--prompts", "--lpips"], "--prompts measures PSNR alone: leave --lpips out"),
        (["--suite", "bundled", "--model", "nothing.onnx"], "nothing.onnx does not exist"),
    ],
)
def test_the_users_mistakes_exit_with_2(arguments, message, capsys, monkeypatch):
    monkeypatch.delenv("CPL_EDGE_DATA", raising=False)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and message in error and error.count("\n") == 1


def test_list_shows_every_suite(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert stop.value.code == 0
    assert {line.split()[0] for line in lines} == set(suite_names())
    assert any("Rain100L: 100 published pairs" in line for line in lines)


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "sys.argv = ['evaluate', '--help']\n"
        "import runpy\n"
        "try:\n"
        "    runpy.run_module('cpl_edge.evaluate', run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert stop.code == 0\n"
        "heavy = {'numpy', 'pydantic', 'skimage', 'torch', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--degradation" in done.stdout


@pytest.mark.skipif("CPL_EDGE_DATA" not in os.environ, reason="CPL_EDGE_DATA is not set")
@pytest.mark.parametrize(
    ("suite", "label", "low", "high"),
    [("cbsd68", "noise 25", 20.2, 20.8), ("rain100l", "Rain100L", 24.5, 25.5)],
)
def test_inputs_of_the_real_benchmarks(suite, label, low, high):
    loaded = load_suite(suite)
    samples = [s for s in find_samples(loaded, None, limit=32) if s.degradation.label == label]
    assert len(samples) == 32
    before = []
    for sample in samples:
        degraded, clean = sample.load(loaded.crop_multiple)
        assert sorted(degraded.shape) == [3, 320, 480]
        before.append(psnr(degraded / np.float32(255), clean / np.float32(255)))
    assert low < np.mean(before) < high
