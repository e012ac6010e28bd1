"""ONNX Runtime's own profile, imported and measured."""

import copy
import json
from dataclasses import replace

import pytest

from cpl_edge.errors import UserError
from cpl_edge.profile.model import Model, load_model
from cpl_edge.profile.sources.onnxruntime import measure, parse, recognise
from cpl_edge.runtimes.info import KEY, restorer


@pytest.fixture(scope="module")
def data(golden):
    return json.loads((golden / "onnxruntime.json").read_text())


def test_modules_and_work_come_from_the_model(data, golden_model):
    model = golden_model(".onnx")
    profile = parse(data, "onnxruntime.json", model, "forward")
    by_module = {row.module: row for row in profile.rows if row.macs}
    assert by_module["encoder.0.expand"].mapping == "name"
    assert by_module["encoder.0.expand"].level == "half"
    assert by_module["middle.1.project"].level == "quarter"
    # 4 channels, 3x3, at half of 64x72; 8 channels at a quarter.
    assert by_module["encoder.0.expand"].macs == 4 * 4 * 9 * 32 * 36
    assert by_module["middle.1.project"].macs == 8 * 8 * 9 * 16 * 18
    assert sum(row.macs or 0 for row in profile.rows) == profile.calls[0].macs
    assert "unknown" not in {row.module for row in profile.rows}
    assert {row.prompt_site for row in profile.rows if row.module.endswith("scale")} == {
        "encoder.0",
        "middle.0",
        "middle.1",
        "decoder.0",
    }


def test_the_first_run_does_not_count(data):
    profile = parse(data, "x", Model(), "forward")
    assert profile.calls[0].runs == 2
    cold = next(e["dur"] for e in data if e["name"] == "model_run")
    assert profile.calls[0].first_ms == cold / 1e3
    rows = [row for row in profile.rows if row.name == "node_view"]
    times = sorted(e["dur"] for e in data if e["name"] == "node_view_kernel_time")
    assert len(times) == 3 and rows[0].microseconds is not None
    assert sum(row.share for row in profile.rows) == pytest.approx(1)


def test_without_the_model_names_stay_unknown_but_the_order_helps(data):
    profile = parse(data, "x", Model(), "forward")
    assert {row.mapping for row in profile.rows} <= {"order", "unknown"}
    assert any("assumed" in note for note in profile.notes)
    assert any("Not run on a phone here" in note for note in profile.notes)


def test_the_cpu_provider_is_no_accelerator(data):
    profile = parse(data, "x", Model(), "forward")
    assert profile.accelerator is None and profile.outside == ()


def test_what_another_provider_left(data):
    data = copy.deepcopy(data)
    for event in data:
        if event.get("args", {}).get("op_name") == "Conv":
            event["args"]["provider"] = "CoreMLExecutionProvider"
    profile = parse(data, "x", Model(), "forward")
    assert profile.accelerator == "CoreMLExecutionProvider"
    left = {outside.operator for outside in profile.outside}
    assert "Gemm" in left and "Conv" not in left


def test_no_complete_call(data):
    short = [event for event in data if event["name"] != "model_run"]
    with pytest.raises(UserError, match="no complete call"):
        parse(short, "cut.json", Model(), "forward")


def test_other_json_is_not_taken_for_one(data):
    assert recognise(data)
    for other in ([], {}, [{"cat": "Node"}], [1, 2], {"traceEvents": data}):
        assert not recognise(other)


@pytest.mark.parametrize("entry", ["forward", "restore", "route"])
def test_measured_here(golden_model, entry):
    profile = measure(golden_model(".onnx"), entry, threads=1, runs=2)
    assert profile.device.here and profile.source == "measured here"
    assert profile.calls[0].entry == entry and profile.calls[0].runs == 2
    timed = [row for row in profile.rows if row.microseconds is not None]
    assert len(timed) > 50 and {row.entry for row in timed} == {entry}
    assert "unknown" not in {row.module for row in timed}


@pytest.fixture(scope="module")
def own_model(golden, golden_model, tmp_path_factory):
    """The golden file as one whose degradations have convolutions of their own: a branch each."""
    onnx = pytest.importorskip("onnx")
    from cpl_edge.export.onnx_branches import join_branches

    info = replace(golden_model(".onnx").info, own=True)
    cut = onnx.utils.Extractor(onnx.load(golden / "model.onnx")).extract_model
    restore, names = cut(["x", "w_used"], ["y"]), [restorer(name) for name in info.degradations]
    del restore.graph.value_info[:]  # the extractor lists the inputs there once more
    routing = cut(["x", "w_given"], ["w", "logits", "w_used"])
    model = join_branches(routing, dict.fromkeys(names, restore), "w_used")
    del model.graph.output[3:]  # w_used, which is no output of a file
    onnx.helper.set_model_props(model, {KEY: info.to_json()})
    onnx.save(model, path := tmp_path_factory.mktemp("own") / "own.onnx")
    return load_model(path)


def test_a_call_of_a_file_with_branches_has_the_work_of_one(own_model):
    (graph,) = own_model.graphs.values()
    weighted = [node for node in graph.nodes if node.kind != "other"]
    modules = [node.module for node in weighted]
    assert len(modules) == len(set(modules)) and "unknown" not in modules
    expand = [node for node in weighted if node.module == "middle.0.expand"]
    assert [node.macs for node in expand] == [8 * 8 * 9 * 16 * 18]  # what branches share, too


@pytest.mark.parametrize("entry", ["forward", "restore", "restore_blur", "restore_rain", "route"])
def test_the_branch_that_runs_is_measured(own_model, entry):
    profile = measure(own_model, entry, threads=1, runs=2)
    timed = [row for row in profile.rows if row.microseconds is not None]
    assert "If" not in {row.operator for row in timed}  # it has all the others in it
    assert "unknown" not in {row.module for row in timed}
    assert sum(row.macs or 0 for row in timed) == profile.calls[0].macs
    branches = {row.name.split(".")[0] for row in timed if row.name.startswith("restore_")}
    assert len(branches) == 1
    if entry.startswith("restore_"):
        assert branches == {entry}
