"""The Android app's profile: made by its core on a desktop JVM, imported here."""

import copy
import json

import pytest

from cpl_edge.errors import UserError
from cpl_edge.profile.model import Model
from cpl_edge.profile.sources.android import parse, recognise


@pytest.fixture
def data(golden):
    return json.loads((golden / "android.json").read_text())


def test_every_build_becomes_a_profile(data):
    assert recognise(data)
    measured, damaged = parse(data, "android.json", Model())
    told = data["builds"][0]
    assert measured.model == told["file"] and measured.bytes == told["bytes"]
    assert (measured.target, measured.precision) == ("onnx", "w8a8")
    assert measured.runtime.startswith("ONNX Runtime")
    calls = {call.entry: call for call in measured.calls}
    assert set(calls) == {"route", "restore"}
    assert calls["restore"].p50_ms == told["entries"]["restore"]["p50_ms"]
    assert calls["restore"].runs == told["entries"]["restore"]["queries"] == 64
    assert measured.memory_peak_mb == told["memory_peak_mb"]
    assert damaged.error == "damaged" and damaged.calls == ()


def test_it_is_said_where_it_ran_and_in_what_state(data):
    measured, _ = parse(data, "android.json", Model())
    assert not measured.device.here and measured.device.name == "JVM"
    assert measured.device.details["battery celsius before"] == "30.5"
    assert "thermal after" not in measured.device.details
    assert any("Not run on a phone here" in note for note in measured.notes)
    assert any("Quick mode" in note for note in measured.notes)


def test_work_is_used_of_the_very_file_only(data, golden_model):
    data["builds"][0]["file"] = "model.tflite"
    model = golden_model(".tflite")
    measured, _ = parse(data, "android.json", model)
    assert {c.entry: c.macs for c in measured.calls}["route"] == model.graphs["route"].macs
    data["builds"][0]["info"]["digest"] = "1" * 64
    measured, _ = parse(data, "android.json", model)
    assert all(call.macs is None for call in measured.calls)
    assert any("another file" in note for note in measured.notes)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), 2),
        (("builds", 0, "entries", "restore", "p50_ms"), -1),
        (("builds", 0, "entries", "backward"), {}),
        (("builds", 0, "bytes"), "many"),
        (("device",), None),
    ],
)
def test_damage_is_told_with_its_place(data, path, value):
    damaged = copy.deepcopy(data)
    inner = damaged
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(UserError, match=rf"android\.json is no profile.*{path[-1]}"):
        parse(damaged, "android.json", Model())


def test_fields_of_later_versions_are_left_alone(data):
    data["builds"][0]["later"] = data["later"] = 1
    assert len(parse(data, "android.json", Model())) == 2
