"""A Core ML export, its saved program and what the reference evaluator makes of it."""

import platform
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil.frontend.milproto.load import load

from cpl_edge.export.build import describe
from cpl_edge.export.core_ml import core_ml
from cpl_edge.export.crops import make_crops
from cpl_edge.export.gate import Build
from cpl_edge.export.gates import EXECUTED, lowered, saved_weights
from cpl_edge.export.program import make_program
from cpl_edge.export.recipe import read_recipes
from cpl_edge.export.targets import TARGETS
from cpl_edge.export.targets.coreml import interface, metadata, missing_weights
from cpl_edge.quantize.preparation import prepare
from cpl_edge.quantize.recipe import CalibrationSet
from cpl_edge.runtimes import ModelInfo, open_runtime
from cpl_edge.runtimes.mil import Mil
from cpl_edge.runtimes.mil_program import read_package

off_a_mac = pytest.mark.skipif(platform.system() == "Darwin", reason="Core ML runs here")


@pytest.fixture(scope="module", params=["fp32", "fp16", "w8", "w8a8"])
def outcome(request, exported):
    return exported("coreml", precision=request.param)


@pytest.fixture
def path(outcome):
    return outcome.folder / "model.mlpackage"


@off_a_mac
def test_gates_run_in_the_reference_evaluator_and_the_card_says_so(outcome):
    states = {result.name: result.passed for result in outcome.results}
    assert states.pop("core_ml") is None
    assert set(states) >= {gate.__name__ for gate in EXECUTED} | {
        "saved_interface", "saved_metadata", "saved_weights", "lowered", "delegation",
    }  # fmt: skip
    assert all(states.values())
    card = outcome.card
    assert card["executed"] == "evaluated by the reference evaluator, not by Core ML"
    if card["recipe"]["precision"] == "w8a8":
        assert "A17 Pro" in card["quantization"]["remark"]
    assert "latency_ms" not in card  # those of the evaluator say nothing about Core ML
    assert set(card["quality"]) == {"noise", "blur", "rain", "haze", "lowlight"}


def test_every_entry_point_computes_what_the_student_computes(path, outcome, student):
    x_BCHW = torch.rand(1, 3, 64, 72, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        w_BSN, logits_BSL = student.route(x_BCHW), student.logits(x_BCHW)
        y_BCHW = student.restore(x_BCHW, w_BSN)
    precision = outcome.card["recipe"]["precision"]
    atol = {"fp32": 1e-5, "fp16": 4e-3}.get(precision, 0.1)
    with closing(open_runtime(path, runtime="mil")) as runtime:
        x, w = x_BCHW.numpy(), w_BSN.numpy()
        found_w, found_logits = runtime.run("route", x)
        np.testing.assert_allclose(found_w, w, atol=1e-5)
        np.testing.assert_allclose(found_logits, logits_BSL, atol=1e-4)
        for found in (*runtime.run("forward", x), *runtime.run("restore", x, w)):
            np.testing.assert_allclose(found, y_BCHW, atol=atol)
            assert (np.abs(found - y_BCHW.numpy()).max() > 1e-5) == (precision != "fp32")


def feeds_a_compressed_one(operation):
    users = operation.outputs[0].child_ops
    return bool(users) and all(user.op_type.startswith("constexpr_") for user in users)


def same_constants(path):
    """Whether coremltools' own reader finds the same values; how many were compared."""
    spec = ct.utils.load_spec(str(path))
    weights = path / "Data" / "com.apple.CoreML" / "weights"
    program = load(spec, spec.specificationVersion, str(weights))
    read = read_package(path).functions
    assert set(read) == set(program.functions)
    compared = 0
    for name, function in program.functions.items():
        for operation in function.operations:
            if operation.op_type.startswith("constexpr_"):
                wanted = operation.materialized_val_inference()
            elif operation.op_type == "const" and not feeds_a_compressed_one(operation):
                wanted = operation.outputs[0].val
            else:
                continue
            if np.size(wanted) > 12 and not isinstance(wanted, str):
                found = read[name].constants[operation.outputs[0].name]
                assert found.dtype == wanted.dtype
                # coremltools multiplies compressed fp16 weights in fp16
                rtol = 1e-3 if operation.op_type.startswith("constexpr_") else 0
                np.testing.assert_allclose(found, wanted, rtol=rtol)
                compared += 1
    return compared


def test_constants_are_those_that_coremltools_reads(path):
    assert same_constants(path) > 50


@off_a_mac
def test_on_a_mac_core_ml_and_the_evaluator_must_agree(path, outcome, student, monkeypatch):
    """A stand-in for Core ML that computes the same, then something else."""
    info = ModelInfo.from_json(metadata(path), "model")
    program = make_program(student, info, TARGETS["coreml"].swaps)
    crops = make_crops(student.config.degradations, (64, 72))[:2]
    (recipe,) = read_recipes("coreml", precision=info.precision)
    build = Build(recipe, TARGETS["coreml"], student, program, path, crops)
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    off = 0.0

    class Real(Mil):
        def run(self, name, *arrays):
            return tuple(array + off for array in super().run(name, *arrays))

    monkeypatch.setattr("cpl_edge.runtimes.coreml.CoreML", Real)
    assert core_ml(build).passed
    off = 0.01
    result = core_ml(build)
    assert (result.passed, result.figure) == (False, pytest.approx(40, abs=0.1))
    assert "Core ML computes something else" in result.why


def test_functions_take_and_give_fp32_in_either_precision(path):
    image = ((1, 3, 64, 72), "float32")
    weights, logits = ((1, 1, 15), "float32"), ((1, 1, 20), "float32")
    assert interface(path) == {
        "forward": {"x": image, "y": image},
        "route": {"x": image, "w": weights, "logits": logits},
        "restore": {"x": image, "w": weights, "y": image},
    }


def test_the_package_describes_itself(path, outcome):
    info = ModelInfo.from_json(metadata(path), "model")
    assert info.precision == outcome.card["recipe"]["precision"]
    assert (info.target, info.height, info.width) == ("coreml", 64, 72)
    description = ct.utils.load_spec(str(path)).description
    assert description.defaultFunctionName == "forward"


def test_operators_are_native(outcome):
    operators = outcome.card["operators"]
    assert operators["restore"]["pixel_shuffle"] == 2
    assert operators["restore"]["pixel_unshuffle"] == 1
    assert operators["restore"]["conv"] == 10
    assert operators["route"]["conv"] == 2
    precision = outcome.card["recipe"]["precision"]
    assert ("cast" in operators["restore"]) == (precision != "fp32")
    name = "constexpr_blockwise_shift_scale"
    # All weights but those of the modules that the recipes keep in float.
    assert operators["restore"].get(name, 0) == {"w8": 10, "w8a8": 8}.get(precision, 0)
    for pair in ("quantize", "dequantize"):
        assert operators["restore"].get(pair, 0) == 8 * (precision == "w8a8")
        assert pair not in operators["route"]
    assert name not in operators["route"]
    assert "cast" not in operators["route"]  # the router is fp32 throughout


def test_a_changed_weight_is_found(path, outcome, student):
    info = ModelInfo.from_json(metadata(path), "model")
    (recipe,) = read_recipes("coreml", precision=info.precision)
    how, quantization = recipe.quantization, None
    if how is not None:
        student, quantization = prepare(student, how, (64, 72))
    program = make_program(student, info, TARGETS["coreml"].swaps)
    program = replace(program, quantization=quantization)
    assert missing_weights(path, program) == []
    if how is None:
        program.lowered.down.weight[0, 0, 0, 0] += 0.1
    else:  # compressed weights differ a little anyway: they are to be told from others
        program.lowered.down.weight.copy_(program.lowered.down.weight.flip(0))
    assert missing_weights(path, program) == ["forward: down.weight", "restore: down.weight"]
    result = saved_weights(Build(recipe, TARGETS["coreml"], student, program, path, []))
    assert (result.passed, result.figure) == (False, 2)
    assert "restore: down.weight" in result.why


@pytest.mark.parametrize(
    "rewritten", [{}, {"rounding": "fitted"}, {"bias_correction": True}], ids=str
)
def test_a_swap_that_changes_what_is_converted_is_refused(student, tmp_path, rewritten):
    (recipe,) = read_recipes("coreml", precision="w8a8", size="64x72")
    info = describe(recipe, TARGETS["coreml"], student, Path(__file__))
    changes = {"rounding": "nearest", "calibration": CalibrationSet(crops=1), **rewritten}
    how = recipe.quantization.model_copy(update=changes)
    deployed, quantization = prepare(student, how, (64, 72))
    program = make_program(deployed, info, TARGETS["coreml"].swaps)
    program = replace(program, quantization=quantization)
    crops = make_crops(student.config.degradations, (64, 72))[:1]
    x_BCHW = crops[0].x_BCHW
    apart = (deployed(x_BCHW) - student(x_BCHW)).abs().max()
    assert (apart > 1e-4) == bool(rewritten)  # which parity judges
    build = Build(recipe, TARGETS["coreml"], student, program, tmp_path, crops)
    assert lowered(build).passed
    program.lowered.tail[0].bias.add_(0.01)
    result = lowered(build)
    assert (result.passed, result.limit) == (False, 1e-4)
    assert result.figure > 1e-3


def test_weights_are_stored_once(path, outcome, student):
    size = (path / "Data" / "com.apple.CoreML" / "weights" / "weight.bin").stat().st_size
    router = sum(p.numel() for p in student.router.parameters())
    others = sum(p.numel() for p in student.parameters()) - router
    each = 4 if outcome.card["recipe"]["precision"] == "fp32" else 2
    assert size < 1.1 * (4 * router + each * others) + 8000  # every blob is padded to 64 bytes


def test_a_pinned_package_has_one_function_and_may_have_palettes(exported):
    outcome = exported("coreml", precision="p6", routing="pinned", degradation="rain")
    assert not outcome.refusals
    (operators,) = outcome.card["operators"].values()
    assert "linear" not in operators
    assert operators["constexpr_lut_to_dense"] == 9
    assert "routing" not in {result.name for result in outcome.results}
    assert outcome.card["quantization"]["recipe"]["group"] == 4
    assert same_constants(outcome.folder / "model.mlpackage") > 9


def test_the_spec_holds_no_paths_of_this_machine(path):
    text = (path / "Data" / "com.apple.CoreML" / "model.mlmodel").read_bytes()
    assert b".py" not in text
    assert np.frombuffer(text, np.uint8).size > 1000
