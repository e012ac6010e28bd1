import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from cpl_edge.errors import UserError
from cpl_edge.models.zoo import load_student, save_student
from cpl_edge.quantize.checkpoint import (
    KEY,
    Quantized,
    digest,
    read_quantized,
    save_quantized,
)
from cpl_edge.quantize.preparation import prepare
from cpl_edge.quantize.ranges import find_ranges
from cpl_edge.quantize.recipe import read_quantize_recipe
from cpl_edge.quantize.simulation import Simulation

SIZE = (64, 72)


@pytest.fixture(name="quantized")
def table(student, calibration):
    return Quantized(
        made="qat",
        source="0" * 64,
        recipe=read_quantize_recipe("litert-w8a8-qat"),
        ranges=find_ranges(student, calibration, "minmax"),
        calibration=calibration.to_card(),
    )


@pytest.fixture(name="path")
def file(student, quantized, tmp_path):
    save_quantized(student, quantized, tmp_path / "q.safetensors")
    return tmp_path / "q.safetensors"


def test_it_is_a_student_with_ranges_and_a_card(student, quantized, path):
    assert read_quantized(path) == quantized
    loaded = load_student(path)
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.parameters(), student.parameters(), strict=True)
    )
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["made"] == "qat"
    assert card["digest"] == digest(path)
    assert card["float"] == ["router", "sum"]
    assert card["ranges"]["input"] == [0.0, 1.0]


def test_a_plain_student_holds_none(student, tmp_path):
    save_student(student, tmp_path / "plain.safetensors")
    assert read_quantized(tmp_path / "plain.safetensors") is None


@pytest.mark.parametrize("text", ["{}", "not JSON", '{"format": 2}'])
def test_a_damaged_entry_is_named(student, path, text):
    entry = {"cpl_edge_student": json.dumps(student.config.to_dict()), KEY: text}
    save_file(load_file(path), path, entry)
    with pytest.raises(UserError, match="damaged"):
        read_quantized(path)


def test_a_range_without_zero_is_damage(quantized):
    values = quantized.model_dump() | {"ranges": {"head": (1.0, 2.0)}}
    with pytest.raises(ValueError, match="range of head does not hold 0"):
        Quantized.model_validate_json(json.dumps(values))


def test_preparing_takes_what_is_stored(student, quantized):
    recipe = read_quantize_recipe("litert-w8a8")  # keeps the head, which was trained to be rounded
    _, how = prepare(student, recipe, SIZE, stored=quantized)
    assert how.ranges == quantized.ranges
    assert how.kept == ["sum"]
    assert how.calibration is None
    card = how.to_card()
    assert card["made"] == "qat"
    assert card["calibration"]["digest"] == quantized.calibration["digest"]


def test_a_pinned_student_takes_the_range_behind_the_relu(student, quantized):
    pinned = student.pin(torch.eye(15)[0])
    _, how = prepare(pinned, read_quantize_recipe("litert-w8a8"), SIZE, stored=quantized)
    assert list(how.ranges) == Simulation(pinned).points
    ranges = quantized.ranges
    assert how.ranges["encoder.0.expand"] == ranges["encoder.0.prompt:sum"]
    assert how.ranges["encoder.0.project"] == ranges["encoder.0.project"]


def test_other_activations_are_refused(student, quantized):
    with pytest.raises(UserError, match=r"ranges for int8 activations.*takes int16"):
        prepare(student, read_quantize_recipe("litert-w8a16"), SIZE, stored=quantized)


def test_weights_alone_need_no_ranges(student, quantized):
    _, how = prepare(student, read_quantize_recipe("litert-w8"), SIZE, stored=quantized)
    assert how.ranges == {}


def test_a_missing_point_is_named(quantized):
    with pytest.raises(UserError, match=r"no range for encoder\.7\.sum"):
        quantized.ranges_of(["encoder.7.sum"])
