import json

import pytest

from cpl_edge.models.zoo import save_student
from cpl_edge.quantize.layers import look, show
from cpl_edge.quantize.recipe import CalibrationSet, read_quantize_recipe
from cpl_edge.quantize.simulation import Simulation


@pytest.fixture(name="view", scope="module")
def looked(student, tmp_path_factory):
    path = tmp_path_factory.mktemp("student") / "tiny.safetensors"
    save_student(student, path)
    recipe = read_quantize_recipe("litert-w8a8-qat")
    recipe = recipe.model_copy(update={"calibration": CalibrationSet(crops=1)})
    return look(str(path), recipe, (64, 72), None)


def test_every_activation_is_there_in_order(student, view):
    assert [layer.point for layer in view.layers] == Simulation(student).points
    assert view.degradation in student.config.degradations
    json.dumps(view.to_json())


def test_noise_arrives_from_the_layers_before(view):
    layers = {layer.point: layer for layer in view.layers}
    assert layers["input"].arrived > 200  # nothing has been rounded yet
    assert layers["head"].arrived > layers["decoder.0.sum"].arrived
    assert all(layer.own > 20 for layer in view.layers if layer.point.endswith("sum"))
    assert all(0 <= layer.clipped < 1 for layer in view.layers)


def test_it_can_be_read(view, capsys):
    show(view)
    out = capsys.readouterr().out
    assert "encoder.0.prompt:product" in out
    assert f"worst crop: {view.degradation}" in out
