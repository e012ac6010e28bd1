"""LiteRT's profile of single operators, XNNPACK's included."""

import pytest

from cpl_edge.errors import CplEdgeError
from cpl_edge.profile.sources.litert import from_events, measure
from cpl_edge.profile.sources.litert_library import Library, TimedEvent


@pytest.mark.parametrize(
    ("entry", "modules"),
    [
        ("forward", {"router.conv1", "head", "encoder.0.expand", "decoder.0.project", "tail"}),
        ("restore", {"head", "encoder.0.scale", "encoder.0.shift", "middle.1.expand", "up"}),
        ("route", {"router.conv1", "router.conv2", "router.hidden", "router.head"}),
    ],
)
def test_every_operator_inside_xnnpack_has_its_module(golden_model, entry, modules):
    model = golden_model(".tflite")
    profile = measure(model, entry, threads=1, runs=3)
    assert profile.accelerator == "XNNPACK"
    assert {row.delegate for row in profile.rows} == {"XNNPACK"} and not profile.outside
    assert modules <= {row.module for row in profile.rows}
    assert "unknown" not in {row.module for row in profile.rows}
    weighted = sum(row.macs or 0 for row in profile.rows)
    assert weighted == model.graphs[entry].macs == profile.calls[0].macs
    assert profile.calls[0].runs == 3 and profile.device.here


def events(*tags, kind=8):
    whole = TimedEvent("Invoke", 1, 0, 100)
    return [whole, *(TimedEvent(tag, kind, i, 10) for i, tag in enumerate(tags))]


def test_a_kernel_of_litert_itself_is_outside(golden_model):
    call = [*events("Convolution"), TimedEvent("TOPK_V2", 2, 7, 30)]
    call.insert(1, TimedEvent("TfLiteXNNPackDelegate", 2, 9, 40))  # told again by what is inside
    profile = from_events([call, call], golden_model(".tflite"), "forward", 1)
    assert [row.operator for row in profile.rows] == ["Convolution", "TOPK_V2"]
    (left,) = profile.outside
    assert (left.operator, left.ran_on, left.microseconds) == ("TOPK_V2", "CPU", 30)


def test_a_delegate_that_tells_nothing_stands_as_one_row(golden_model):
    call = [TimedEvent("Invoke", 1, 0, 50), TimedEvent("TfLiteGpuDelegateV2", 2, 9, 40)]
    profile = from_events([call], golden_model(".tflite"), "forward", 1)
    assert len(profile.rows) == 1
    assert any("one row" in note for note in profile.notes)


def test_calls_that_differ_are_refused(golden_model):
    with pytest.raises(CplEdgeError, match="same operators"):
        from_events([events("A"), events("B")], golden_model(".tflite"), "forward", 1)


def test_an_entry_point_that_is_missing(golden):
    with pytest.raises(CplEdgeError, match="no entry point 'backward'"):
        Library(golden / "model.tflite", "backward", 1)


def test_a_library_of_another_version_is_told(golden, monkeypatch):
    monkeypatch.setattr(
        Library, "_make", lambda self, *a, **k: self._call("CreateNothingOfTheKind")
    )
    with pytest.raises(CplEdgeError, match=r"no LiteRtCreateNothingOfTheKind.*pip install"):
        Library(golden / "model.tflite", "forward", 1)
