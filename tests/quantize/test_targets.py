"""Quantised builds of every target: what is in the file, and whether it is what was simulated."""

import copy

import numpy as np
import pytest
import torch

from cpl_edge.export.build import export
from cpl_edge.export.measurement import psnr
from cpl_edge.export.recipe import read_recipes
from cpl_edge.models.zoo import save_student
from cpl_edge.quantize.calibration import make_calibration
from cpl_edge.quantize.preparation import prepare
from cpl_edge.quantize.recipe import CalibrationSet, read_quantize_recipe
from cpl_edge.quantize.simulation import Simulation, sqnr
from cpl_edge.runtimes import open_runtime

SIZE = (64, 72)


@pytest.mark.parametrize(
    ("target", "precision"),
    [("litert", "w8a8"), ("litert", "w8a16"), ("executorch", "w8a8"), ("onnx", "w8a8")],
)
def test_the_file_computes_what_was_simulated(built, student, target, precision):
    outcome = built(target, precision)
    recipe = read_quantize_recipe(f"{target}-{precision}")
    folded, how = prepare(student, recipe, SIZE)
    assert outcome.card["quantization"]["calibration"]["digest"] == how.calibration.digest
    bits = 16 if precision == "w8a16" else 8
    simulation = Simulation(folded, bits, frozenset(how.kept), how.ranges)
    judged = make_calibration(
        CalibrationSet(crops=1), student.config.degradations, SIZE, judging=True
    )
    runtime = open_runtime(outcome.folder / outcome.card["model"])
    try:
        for x in judged.crops:
            w = student.route(x).detach()
            (y,) = runtime.run("restore", x.numpy(), w.numpy())
            (through,) = runtime.run("forward", x.numpy())
            assert sqnr([simulation.run(x, w)], [torch.from_numpy(y)]) > 35
            assert np.abs(through - y).max() < 0.03
            found, _ = runtime.run("route", x.numpy())
            assert np.abs(found - w.numpy()).max() < 1e-4  # the router is in float
    finally:
        runtime.close()


@pytest.mark.parametrize("target", ["litert", "executorch", "onnx"])
def test_nothing_leaves_the_accelerator(built, target):
    card = built(target, "w8a8").card
    gates = {gate["name"]: gate["passed"] for gate in card["gates"]}
    assert gates["interface"]
    assert gates["metadata"]
    assert gates.get("delegation", True)
    assert card["quantization"]["float"][0] == "router"


@pytest.mark.parametrize(("precision", "share"), [("w8", 0.95), ("fp16", 0.95)])
def test_weights_alone_are_smaller_and_close(built, precision, share):
    plain, small = built("litert", "fp32").card, built("litert", precision).card
    assert small["bytes"] < share * plain["bytes"]
    gates = {gate["name"]: gate for gate in small["gates"]}
    assert gates["interface"]["passed"]
    assert gates["parity"]["figure"] > 40


def test_a_pinned_build_is_quantised_on_its_own_degradation(built):
    card = built("litert", "w8a8", "pinned", "rain").card
    assert card["quantization"]["calibration"]["degradations"] == ["rain"]
    assert "MUL" not in card["operators"]["forward"]


def test_integer_builds_of_one_network_agree(built, student):
    """The same ranges and the same weights, whoever computes them."""
    judged = make_calibration(
        CalibrationSet(crops=1), student.config.degradations, SIZE, judging=True
    )
    restored = []
    for target in ("litert", "executorch", "onnx"):
        outcome = built(target, "w8a8")
        runtime = open_runtime(outcome.folder / outcome.card["model"])
        try:
            restored.append([runtime.run("forward", x.numpy())[0] for x in judged.crops])
        finally:
            runtime.close()
    for a, b in ((0, 1), (0, 2), (1, 2)):
        pairs = zip(restored[a], restored[b], strict=True)
        assert min(psnr(first, second) for first, second in pairs) > 45


@pytest.mark.parametrize("target", ["litert", "executorch"])
def test_a_block_that_a_degradation_silences_still_runs(student, tmp_path, target):
    """XNNPACK refuses scales too far apart, and an empty range is as far as it gets."""
    silent = copy.deepcopy(student)
    with torch.no_grad():
        silent.middle[0].expand.bias.fill_(-1)
        silent.middle[0].shift_NC.fill_(-100)
    weights = tmp_path / "silent.safetensors"
    save_student(silent, weights)
    recipes = read_recipes(
        target, precision="w8a8", routing="pinned", degradation="blur", size="64x72"
    )
    (outcome,) = export(recipes, str(weights), tmp_path / "build", keep_refused=True)
    gates = {gate.name: gate for gate in outcome.results}
    assert gates["interface"].passed, gates["interface"].figure
    assert gates["delegation"].passed
    assert gates["parity"].figure > 30
