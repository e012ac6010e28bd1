"""A student trained to be rounded, exported: the file is what was trained, number for number."""

import json

import pytest
import torch

from cpl_edge.data.patches import ImageBank
from cpl_edge.data.photos import bundled_photos
from cpl_edge.export.build import export, pinned_weights
from cpl_edge.export.recipe import read_recipes
from cpl_edge.models.zoo import load_student, save_student
from cpl_edge.quantize.calibration import make_calibration
from cpl_edge.quantize.checkpoint import read_quantized
from cpl_edge.quantize.figures import psnr
from cpl_edge.quantize.preparation import prepare
from cpl_edge.quantize.recipe import CalibrationSet, read_quantize_recipe
from cpl_edge.quantize.simulation import Simulation
from cpl_edge.runtimes import open_runtime
from cpl_edge.train.loop import Trainer
from cpl_edge.train.qat import QatTask
from cpl_edge.train.recipe import QatRecipe, Stage

SIZE = (64, 72)


@pytest.fixture(name="trained", scope="module")
def run(student, tmp_path_factory):
    folder = tmp_path_factory.mktemp("qat")
    save_student(student, folder / "tiny.safetensors")
    recipe = QatRecipe(
        network="qat",
        student=str(folder / "tiny.safetensors"),
        optimiser="adamw",
        steps=5,
        stages=[Stage(crop=32, batch=5, context=48)],
    )
    bank = ImageBank([image[:128, :128] for _, image in bundled_photos()][:2])
    task = QatTask(recipe)
    task.start(bank)
    assert Trainer(task, bank, None, folder / "run").run()
    return folder / "run" / "student.safetensors"


@pytest.mark.parametrize(("routing", "degradation"), [("auto", None), ("pinned", "noise")])
def test_the_integer_file_is_what_was_trained(trained, tmp_path, routing, degradation):
    recipes = read_recipes(
        "litert", precision="w8a8", routing=routing, degradation=degradation, size="64x72"
    )
    (outcome,) = export(recipes, str(trained), tmp_path, keep_refused=True)
    assert outcome.card["quantization"]["made"] == "qat"
    student, stored = load_student(trained), read_quantized(trained)
    judged = make_calibration(
        CalibrationSet(crops=1), student.config.degradations, SIZE, judging=True
    )
    recipe = read_quantize_recipe("litert-w8a8")
    deployed = student
    if degradation is not None:
        deployed = student.pin(pinned_weights(student, degradation, SIZE))
    folded, how = prepare(deployed, recipe, SIZE, stored=stored)
    simulation = Simulation(folded, 8, frozenset(how.kept), how.ranges)
    runtime = open_runtime(outcome.folder / outcome.card["model"])
    try:
        for x in judged.crops:
            w = student.route(x).detach()
            given = (x.numpy(),) if degradation else (x.numpy(), w.numpy())
            name = "forward" if degradation else "restore"
            (y,) = runtime.run(name, *given)
            expected = simulation.run(x, w, integers=True)
            assert psnr(torch.from_numpy(y), expected) >= 50
    finally:
        runtime.close()
    json.dumps(outcome.card)
