import json

import pytest
from PIL import Image

from cpl_edge.models.zoo import save_student
from cpl_edge.quantize.recipe import CalibrationSet, read_quantize_recipe
from cpl_edge.quantize.sensitivity import Sensitivity, analyse, show, worst, write_mixed
from cpl_edge.quantize.sensitivity_plot import plot
from cpl_edge.quantize.simulation import Simulation


def test_an_analysis_becomes_a_recipe_of_fewer_modules(student, tmp_path, capsys):
    save_student(student, tmp_path / "tiny.safetensors")
    recipe = read_quantize_recipe("litert-w8a8")
    recipe = recipe.model_copy(update={"calibration": CalibrationSet(crops=1)})
    result = analyse(str(tmp_path / "tiny.safetensors"), recipe, (64, 72), None, limit=0.0)
    sites = Simulation(student).sites
    assert list(result.alone) == list(result.spared) == sites
    assert list(result.alone["head"]) == list(student.config.degradations)
    assert worst(result.mixed) <= worst(result.everything)
    assert set(result.kept) <= set(sites)
    json.dumps(result.to_json())
    show(result)
    assert "head" in capsys.readouterr().out
    write_mixed(tmp_path / "mixed.toml", recipe, result)
    mixed = read_quantize_recipe(str(tmp_path / "mixed.toml"))
    assert (mixed.target, mixed.precision) == ("litert", "mixed")
    assert list(mixed.keep_float) == result.kept
    kept = {"keep_float": recipe.keep_float, "precision": recipe.precision}
    assert mixed.model_copy(update=kept) == recipe


@pytest.fixture(name="result")
def made_up():
    return Sensitivity(
        everything={"noise": 0.4, "rain": 0.2},
        alone={"head": {"noise": 0.2, "rain": 0.1}, "tail": {"noise": 0.0, "rain": -0.01}},
        spared={"head": {"noise": 0.1, "rain": 0.1}, "tail": {"noise": 0.4, "rain": 0.2}},
        kept=["head"],
        mixed={"noise": 0.1, "rain": 0.1},
    )


def test_the_plot_shows_what_is_kept_and_what_costs(result, tmp_path):
    plot(result, "a student", tmp_path / "new" / "plot.png")
    with Image.open(tmp_path / "new" / "plot.png") as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}
    assert (230, 150, 40) in colours  # the bar of a module that is kept
    assert (66, 110, 180) in colours  # and of one that is not
    assert (214, 69, 50) in colours  # the cell that costs most


def test_a_student_that_loses_nothing_can_be_drawn(tmp_path):
    none = {"noise": 0.0}
    plot(Sensitivity(none, {"head": none}, {"head": none}, [], none), "", tmp_path / "none.png")
    assert (tmp_path / "none.png").exists()
