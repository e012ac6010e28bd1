"""What benchmark_model prints, of TensorFlow Lite and of LiteRT."""

import pytest

from cpl_edge.errors import UserError
from cpl_edge.profile.model import Model
from cpl_edge.profile.sources.benchmark_model import parse, recognise


@pytest.fixture(scope="module")
def text(golden):
    return (golden / "benchmark_model.txt").read_text()


def test_text(text):
    profile = parse(text, "benchmark_model.txt", Model(), "forward")
    assert profile.calls[0].entry == "restore"  # the text tells
    assert profile.calls[0].mean_ms == pytest.approx(12.7459) and profile.calls[0].runs == 78
    assert profile.model == "model.tflite" and profile.threads == 2
    assert profile.load_ms == 21.5
    assert profile.memory_peak_mb == pytest.approx(25.4 * 1.048576)
    assert profile.accelerator == "XNNPACK" and profile.runtime == "TensorFlow Lite"
    convs = [row for row in profile.rows if row.operator.startswith("Convolution")]
    assert convs[1].microseconds == pytest.approx(1200)


def test_what_is_inside_the_delegate_replaces_the_delegate(text):
    profile = parse(text, "x", Model(), "forward")
    assert len(profile.rows) == 20
    assert {row.delegate for row in profile.rows} == {"XNNPACK", "CPU"}
    (left,) = profile.outside
    assert (left.operator, left.microseconds) == ("GATHER_ND", pytest.approx(600))
    assert "pad outside" in left.rewrite


def test_modules_by_order(text):
    modules = {row.module for row in parse(text, "x", Model(), "forward").rows}
    assert {"head", "encoder.0.expand", "down", "middle.0.project", "up", "tail"} <= modules


def test_csv(golden):
    profile = parse((golden / "benchmark_model.csv").read_text(), "x.csv", Model(), "route")
    conv, named, topk = profile.rows
    assert (conv.operator, conv.delegate) == ("Convolution (NHWC, F32) IGEMM", "XNNPACK")
    assert (named.operator, named.microseconds) == ("CONV_2D", 1200)
    assert topk.name == "[values, indices]:5" and topk.entry == "route"
    assert {left.operator for left in profile.outside} == {"CONV_2D", "TOPK_V2"}


def test_litert_summary_of_the_golden_model(golden, golden_model):
    model = golden_model(".tflite")
    text = (golden / "litert_summary.txt").read_text()
    profile = parse(text, "litert_summary.txt", model, "forward")
    assert profile.runtime == "LiteRT" and profile.accelerator == "XNNPACK"
    assert "unknown" not in {row.module for row in profile.rows}
    assert sum(row.macs or 0 for row in profile.rows) == model.graphs["forward"].macs


def test_a_table_without_operators(text):
    cut = text[: text.index("INFO: Operator-wise")]
    assert recognise(cut)
    with pytest.raises(UserError, match="enable_op_profiling"):
        parse(cut, "cut.txt", Model(), "forward")


def test_a_damaged_row(text):
    damaged = text.replace("0.650	    0.600", "0.6@0	    0.600")
    with pytest.raises(UserError, match=r"damaged.*GATHER_ND"):
        parse(damaged, "x", Model(), "forward")


def test_other_text_is_not_taken_for_one():
    assert not recognise("node type is a word")
