"""Mixed recipes become files: modules in float between modules of integers, as simulated."""

import pytest
import torch

from cpl_edge.export.build import export
from cpl_edge.export.recipe import read_recipes
from cpl_edge.models.zoo import save_student
from cpl_edge.quantize.calibration import make_calibration
from cpl_edge.quantize.preparation import prepare
from cpl_edge.quantize.recipe import CalibrationSet, read_quantize_recipe
from cpl_edge.quantize.sensitivity import Sensitivity, mixed_recipe, write_mixed
from cpl_edge.quantize.simulation import Simulation, sqnr
from cpl_edge.runtimes import open_runtime

SIZE = (64, 72)


@pytest.mark.parametrize(
    "kept",
    [
        ["encoder.0.prompt", "middle.0.project", "up", "decoder.0.sum"],
        ["head", "encoder.0.expand", "encoder.0.sum", "skip", "tail", "sum"],
    ],
)
def test_a_mixed_recipe_becomes_the_file_that_was_simulated(student, tmp_path, kept):
    weights, path = tmp_path / "tiny.safetensors", tmp_path / "mixed.toml"
    save_student(student, weights)
    none = {"noise": 0.0}
    found = Sensitivity(none, {}, {}, kept, none)
    base = read_quantize_recipe("litert-w8a8")
    write_mixed(path, base, found)
    recipe = read_quantize_recipe(str(path))
    assert recipe == mixed_recipe(base, found)
    recipes = read_recipes("litert", quantize=str(path), size="64x72")
    (outcome,) = export(recipes, str(weights), tmp_path / "out", keep_refused=True)
    assert outcome.card["quantization"]["float"] == ["router", *kept]
    folded, how = prepare(student, recipe, SIZE)
    simulation = Simulation(folded, 8, frozenset(how.kept), how.ranges)
    judged = make_calibration(
        CalibrationSet(crops=1), student.config.degradations, SIZE, judging=True
    )
    runtime = open_runtime(outcome.folder / outcome.card["model"])
    try:
        for x in judged.crops:
            w = student.route(x).detach()
            (y,) = runtime.run("restore", x.numpy(), w.numpy())
            assert sqnr([simulation.run(x, w, integers=True)], [torch.from_numpy(y)]) > 40
    finally:
        runtime.close()
