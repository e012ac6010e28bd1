import json

from cpl_edge.models.zoo import save_student
from cpl_edge.quantize.recipe import CalibrationSet, read_quantize_recipe
from cpl_edge.quantize.sensitivity import analyse, show, write_mixed
from cpl_edge.quantize.simulation import Simulation


def test_an_analysis_becomes_a_recipe_of_fewer_modules(student, tmp_path, capsys):
    save_student(student, tmp_path / "tiny.safetensors")
    recipe = read_quantize_recipe("litert-w8a8")
    recipe = recipe.model_copy(update={"calibration": CalibrationSet(crops=1)})
    result = analyse(str(tmp_path / "tiny.safetensors"), recipe, (64, 72), None, limit=0.0)
    sites = Simulation(student).sites
    assert list(result.alone) == list(result.spared) == sites
    assert result.mixed <= result.everything
    assert set(result.kept) <= set(sites)
    json.dumps(result.to_json())
    show(result)
    assert "head" in capsys.readouterr().out
    write_mixed(tmp_path / "mixed.toml", recipe, result)
    mixed = read_quantize_recipe(str(tmp_path / "mixed.toml"))
    assert (mixed.target, mixed.precision) == ("litert", "mixed")
    assert list(mixed.keep_float) == result.kept
    assert mixed.calibration == recipe.calibration
