import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cpl_edge.errors import MissingExtra, UserError
from cpl_edge.report.__main__ import main
from cpl_edge.report.document import Commands, Details
from cpl_edge.report.make import assemble, make_report
from cpl_edge.report.results import Results

ROOT = Path(__file__).parents[2]


def run(*words):
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    return caught.value.code


def test_the_verb_writes_both_files_and_json(golden, tmp_path, capsys):
    words = ["--results", golden / "results", "--weights", golden / "weights"]
    summary = tmp_path / "made.json"
    assert run(*words, "--out", tmp_path / "new/out", "--no-crops", "--json", summary) == 0
    out = capsys.readouterr().out
    made = json.loads(summary.read_text("utf-8"))
    page = tmp_path / "new/out/report.html"
    assert made["bytes"] == page.stat().st_size
    assert made["problems"] == []
    assert any("s-litert-w8a8-auto" in line for line in made["regressions"])
    assert out.count("regression: ") == len(made["regressions"])
    assert (tmp_path / "new/out/report.md").read_text("utf-8").startswith("# ")
    assert sorted(p.name for p in page.parent.iterdir()) == ["report.html", "report.md"]


def test_a_damaged_result_is_named_and_the_report_is_made_all_the_same(golden, tmp_path, capsys):
    shutil.copytree(golden / "results", tmp_path / "results")
    (tmp_path / "results/photo.json").write_text("{", "utf-8")
    words = ["--results", tmp_path / "results", "--weights", golden / "weights", "--no-crops"]
    assert run(*words, "--out", tmp_path / "out") == 1
    err = capsys.readouterr().err
    assert err.startswith("error: the report lacks these files: photo.json is no JSON")
    assert err.count("\n") == 1
    assert "photo.json is no JSON" in (tmp_path / "out/report.html").read_text("utf-8")


def test_committed_results_make_a_page_of_less_than_two_megabytes(tmp_path):
    made = make_report(ROOT / "benchmarks/results", ROOT / "weights", tmp_path, model=None)
    assert made.problems == ()
    assert made.html.stat().st_size < 1_500_000  # and crops of less than 500 kB
    assert made.files > 5


def test_an_unwritable_folder_is_told(golden, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        make_report(golden / "results", golden / "weights", tmp_path / "file", model=None)


def test_a_report_without_photos_or_torch_says_why_there_are_no_crops(
    golden, tmp_path, monkeypatch
):
    def lacks(model, threads):
        raise MissingExtra("this needs the package 'torch': pip install 'cpl-edge[train]'")

    monkeypatch.setattr("cpl_edge.report.crops.make_crops", lacks)
    made = make_report(golden / "results", golden / "weights", tmp_path)
    assert "Not made: this needs the package" in made.html.read_text("utf-8")


def test_a_wrong_model_is_the_users_mistake(golden, tmp_path):
    with pytest.raises(UserError):
        make_report(golden / "results", golden / "weights", tmp_path, model="nothing.tflite")


def test_nothing_measured_is_a_report_of_commands():
    document = assemble(Results())
    assert len(document.sections) == 13
    assert len({section.name for section in document.sections}) == 13
    with_commands = [s.name for s in document.sections if commands(s.blocks)]
    assert set(with_commands) >= {"builds", "quality", "latency", "photos", "profiles", "search"}


def commands(blocks):
    lines = []
    for block in blocks:
        if isinstance(block, Commands):
            lines += block.lines
        elif isinstance(block, Details):
            lines += commands(block.blocks)
    return lines


def test_every_command_of_the_report_exists(document):
    lines = {line for section in document.sections for line in commands(section.blocks)}
    by_verb: dict[str, set[str]] = {}
    for line in lines:
        verb = re.match(r"python -m (cpl_edge[\w.]+)", line)[1]
        by_verb.setdefault(verb, set()).update(re.findall(r"--[\w-]+", line))
    assert len(by_verb) > 6
    for verb, options in by_verb.items():
        help_ = subprocess.run(
            [sys.executable, "-m", verb, "--help"], capture_output=True, text=True, check=True
        ).stdout
        known = set(re.findall(r"--[\w-]+", help_))
        assert options <= known, (verb, options - known)
