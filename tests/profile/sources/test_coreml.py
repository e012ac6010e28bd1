"""Core ML performance reports as JSON."""

import json

import pytest

from cpl_edge.errors import UserError
from cpl_edge.profile.model import Model
from cpl_edge.profile.sources.coreml import parse, recognise


@pytest.fixture
def data(golden):
    return json.loads((golden / "coreml.json").read_text())


def test_report(data):
    profile = parse(data, "coreml.json", Model(), "forward")
    assert profile.calls[0].entry == "restore" and profile.calls[0].p50_ms == 2.4
    assert profile.device.name == "iPhone 15 Pro" and profile.load_ms == 85
    assert profile.model == "model.mlpackage"
    assert [row.module for row in profile.rows[:3]] == [
        "head",
        "encoder.0.expand",
        "encoder.0.project",
    ]
    assert profile.rows[1].microseconds == pytest.approx(720)
    assert profile.rows[1].operator == "conv" and profile.rows[4].delegate == "Neural Engine"
    assert any("never checked with Xcode" in note for note in profile.notes)


def test_what_left_the_neural_engine(data):
    left = {o.operator: o for o in parse(data, "x", Model(), "forward").outside}
    assert set(left) == {"topk", "pixel_shuffle"}
    assert left["topk"].ran_on == "CPU" and left["pixel_shuffle"].ran_on == "GPU"
    assert left["topk"].microseconds == pytest.approx(480)


def test_other_spellings(data):
    other = {
        "operations": [
            {
                "name": op["Name"],
                "operator-name": op["Type"],
                "preferred_compute_device": op["Compute Unit"],
                "estimated_time_ms": 1.5,
            }
            for op in data["Operations"]
        ]
    }
    assert recognise(other)
    profile = parse(other, "x", Model(), "forward")
    assert profile.rows[0].microseconds == 1500 and profile.calls == ()


def test_an_operation_without_its_type(data):
    del data["Operations"][2]["Type"]
    with pytest.raises(UserError, match="operation 2 lacks its type"):
        parse(data, "coreml.json", Model(), "forward")


@pytest.mark.parametrize("other", [{}, [], {"operations": []}, {"operations": [{"name": "a"}]}])
def test_other_json_is_not_taken_for_one(other):
    assert not recognise(other)
