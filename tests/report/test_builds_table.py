"""The table of builds: synthetic results, and the page that is committed."""

import json
import shutil
from pathlib import Path

import pytest

from cpl_edge.errors import UserError
from cpl_edge.quantize.support import SUPPORT
from cpl_edge.report.__main__ import main
from cpl_edge.report.builds_table import COMMAND, builds_document
from cpl_edge.report.make import make_builds
from cpl_edge.report.markdown import to_markdown
from cpl_edge.report.results import read_results

ROOT = Path(__file__).parents[2]


def section(results, name):
    (found,) = [each for each in builds_document(results).sections if each.name == name]
    return found


def test_the_committed_page_is_what_the_command_makes_of_the_committed_results():
    results = read_results(ROOT / "benchmarks/results", ROOT / "weights")
    page = (ROOT / "docs/builds.md").read_text("utf-8")
    assert page == to_markdown(builds_document(results)), f"run {COMMAND}"


def test_each_build_is_a_row_with_its_figures(found, rows_of):
    rows = {row["precision"] + row["target"]: row for row in rows_of(section(found, "s"), "Builds")}
    assert list(rows) == ["fp16coreml", "fp32litert", "w8litert", "w8a8litert"]
    int8 = rows["w8a8litert"]
    card = next(b.value for b in found.builds if b.value.recipe.precision == "w8a8")
    noise = card.quality["noise"]
    assert int8["noise: drop, dB"] == f"{noise.drop_mean:.2f} / {noise.drop_worst:.2f}"
    assert (int8["ms"], int8["speed-up"]) == ("5.80", "3.26 x")
    assert (int8["MB"], int8["routing"]) == (f"{card.bytes / 1e6:.2f}", "auto")
    assert (int8["parity"], int8["outcome"]) == ("41.0 dB", "passed")
    assert rows["fp32litert"]["parity"] == "6.0e-06"
    assert rows["fp32litert"]["same prompt"] == "100.0 %"


def test_a_refused_build_is_in_the_table_with_its_gates_and_reasons(found, rows_of, words_of):
    (row,) = [r for r in rows_of(section(found, "s"), "Builds") if r["precision"] == "w8"]
    assert row["outcome"] == "refused: parity 33, limit 38, drop_mean 0.5, limit 0.3"
    assert (row["ms"], row["speed-up"]) == ("not measured", "not measured")
    words = words_of(section(found, "s"))
    assert "litert w8 auto, drop_mean: synthetic: noise crops lose most" in words


def test_what_could_not_run_and_what_nobody_built_says_so(found, rows_of, words_of):
    rows = rows_of(section(found, "s"), "Builds")
    (coreml,) = [row for row in rows if row["target"] == "coreml"]
    assert coreml["outcome"].startswith("passed; not run: ")
    assert coreml["noise: drop, dB"] == "not measured"
    words = words_of(section(found, "s"))
    assert "Supported and not measured: executorch fp32" in words
    assert "litert w8a8" not in words.partition("Supported and not measured")[2]


def test_the_newest_card_counts_and_weights_that_do_not_ship_are_left_out(found, rows_of, words_of):
    old = next(b for b in found.builds if b.value.recipe.precision == "w8a8")
    later = old.value.model_copy(
        update={"date": "2027-01-01T00:00:00+00:00", "refused": ("routing",)}
    )
    other = old.value.model_copy(update={"digest": "d" * 64, "student": "gone"})
    found.builds[:0] = [type(old)("later.json", later), type(old)("gone.json", other)]
    rows = [r for r in rows_of(section(found, "s"), "Builds") if r["precision"] == "w8a8"]
    assert [row["outcome"].split(":")[0] for row in rows] == ["refused"]
    assert "gone-litert-w8a8-auto in gone.json" in words_of(section(found, "left-out"))


def test_a_pinned_build_shows_its_own_degradation_and_no_routing(found, rows_of):
    old = next(b for b in found.builds if b.value.recipe.precision == "w8a8")
    recipe = old.value.recipe.model_copy(update={"routing": "pinned", "degradation": "noise"})
    rain = recipe.model_copy(update={"degradation": "rain"})
    quality = {"rain": old.value.quality["noise"]}
    pinned = [
        old.value.model_copy(update={"recipe": recipe}),
        old.value.model_copy(update={"recipe": rain, "quality": quality}),
    ]
    found.builds += [type(old)("pinned.json", card) for card in pinned]
    rows = {row["routing"]: row for row in rows_of(section(found, "s"), "Builds")}
    assert rows["pinned noise"]["rain: drop, dB"] == "-" != rows["pinned noise"]["noise: drop, dB"]
    assert rows["pinned rain"]["noise: drop, dB"] == "-" == rows["pinned rain"]["same prompt"]


def test_every_unsupported_pair_stands_with_its_reason(found, rows_of, words_of):
    rows = {row["target"]: row for row in rows_of(section(found, "support"), "Supported")}
    words = words_of(section(found, "support"))
    for target, precisions in SUPPORT.items():
        for precision, reason in precisions.items():
            assert rows[target][precision] == ("no" if reason else "yes")
            assert not reason or f"{target} {precision}: {reason}" in words


def test_machine_and_versions_stand_beside_the_figures(found, rows_of):
    rows = rows_of(section(found, "origins"), "Measured")
    named = ", ".join(row["files"] for row in rows)
    assert {"exports.json", "refused.json", "latency-default-20260102-100000.json"} <= set(
        named.split(", ")
    )
    assert "quick" not in named
    for row in rows:
        assert "cores" in row["machine"] and row["versions"] and row["last on"].startswith("20")


def run(*words):
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    return caught.value.code


def test_the_verb_writes_the_table_alone(golden, tmp_path):
    out, told = tmp_path / "new/builds.md", tmp_path / "told.json"
    words = ["--results", golden / "results", "--weights", golden / "weights"]
    assert run(*words, "--builds", out, "--json", told) == 0
    results = read_results(golden / "results", golden / "weights")
    assert out.read_text("utf-8") == to_markdown(builds_document(results))
    assert json.loads(told.read_text("utf-8")) == {"markdown": "builds.md", "problems": []}
    assert [path.name for path in out.parent.iterdir()] == ["builds.md"]


def test_a_damaged_result_is_named_and_the_table_is_made_all_the_same(golden, tmp_path, capsys):
    shutil.copytree(golden / "results", tmp_path / "results")
    (tmp_path / "results/refused.json").write_text("{", "utf-8")
    words = ["--results", tmp_path / "results", "--weights", golden / "weights"]
    assert run(*words, "--builds", tmp_path / "builds.md") == 1
    assert "the table lacks these files: refused.json is no JSON" in capsys.readouterr().err
    assert "w8a8" in (tmp_path / "builds.md").read_text("utf-8")


def test_a_file_that_cannot_be_written_is_told(golden, tmp_path):
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(UserError, match="cannot be written"):
        make_builds(golden / "results", golden / "weights", tmp_path / "file/builds.md")
