import json

import pytest

from cpl_edge.errors import UserError
from cpl_edge.models.zoo import load_student, save_student
from cpl_edge.quantize.checkpoint import digest, read_quantized
from cpl_edge.quantize.observers import compare, show
from cpl_edge.quantize.preparation import prepare
from cpl_edge.quantize.ptq import measure, quantize
from cpl_edge.quantize.recipe import CalibrationSet, read_quantize_recipe

SIZE = (64, 72)


@pytest.fixture(name="weights", scope="module")
def saved(student, tmp_path_factory):
    path = tmp_path_factory.mktemp("student") / "tiny.safetensors"
    save_student(student, path)
    return path


@pytest.fixture(name="recipe", scope="module")
def short():
    recipe = read_quantize_recipe("litert-w8a8-qat")
    return recipe.model_copy(update={"calibration": CalibrationSet(crops=1)})


@pytest.fixture(name="out", scope="module")
def quantised(weights, recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "new"
    quantize(str(weights), recipe, SIZE, None, out)
    return out


def test_a_checkpoint_holds_what_an_export_would_find(out, weights, recipe, student):
    stored = read_quantized(out / "student.safetensors")
    assert (stored.made, stored.source) == ("ptq", digest(weights))
    _, how = prepare(student, recipe, SIZE)
    assert list(stored.ranges) == list(how.ranges)
    for point, ends in how.ranges.items():
        assert stored.ranges[point] == pytest.approx(ends)
    assert stored.calibration["digest"] == how.calibration.digest
    losses = json.loads((out / "losses.json").read_text())
    assert list(losses) == list(student.config.degradations)


def test_its_loss_can_be_measured_again(out, weights):
    path = str(out / "student.safetensors")
    again = measure(path, str(weights), SIZE, None)
    first = json.loads((out / "losses.json").read_text())
    assert {key: losses.to_json() for key, losses in again.items()} == first
    with pytest.raises(UserError, match="no shipped student: name that student with --against"):
        measure(path, None, SIZE, None)


def test_one_sided_is_repeated_from_what_is_stored(weights, recipe, tmp_path, student):
    sided = recipe.model_copy(update={"one_sided": True, "equalise": 0.0, "balance": False})
    quantize(str(weights), sided, SIZE, None, tmp_path)
    path = tmp_path / "student.safetensors"
    expected, how = prepare(student, sided, SIZE)
    found, taken = prepare(load_student(path), sided, SIZE, stored=read_quantized(path))
    assert taken.ranges == how.ranges
    assert found.state_dict().keys() == expected.state_dict().keys()


def test_mistakes_are_answered(out, weights, recipe):
    with pytest.raises(UserError, match="no ranges to store: export it with --precision w8"):
        quantize(str(weights), read_quantize_recipe("litert-w8"), SIZE, None, out)
    with pytest.raises(UserError, match="quantised already"):
        quantize(str(out / "student.safetensors"), recipe, SIZE, None, out)
    with pytest.raises(UserError, match="is not quantised"):
        measure(str(weights), None, SIZE, None)


def test_observers_are_judged_apart(weights, recipe, capsys):
    found = compare(str(weights), recipe, SIZE, None, None)
    assert list(found) == ["minmax", "percentile", "crops", "mse"]
    # At 8 bits `mse` may find that clipping never pays, which makes it `minmax`.
    assert found["percentile"]["noise"].each != found["minmax"]["noise"].each
    show(found)
    assert "percentile" in capsys.readouterr().out
    with pytest.raises(UserError, match="no ranges that observers find"):
        compare(str(weights), read_quantize_recipe("litert-w8"), SIZE, None, None)
