"""A Core ML export, as far as its saved program goes on any machine."""

import platform

import coremltools as ct
import numpy as np
import pytest

from cpl_edge.export.gate import Build
from cpl_edge.export.gates import EXECUTED, saved_weights
from cpl_edge.export.program import make_program
from cpl_edge.export.recipe import read_recipes
from cpl_edge.export.targets import TARGETS
from cpl_edge.export.targets.coreml import interface, metadata, missing_weights
from cpl_edge.runtimes import ModelInfo

off_a_mac = pytest.mark.skipif(platform.system() == "Darwin", reason="Core ML runs here")


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def outcome(request, exported):
    return exported("coreml", precision=request.param)


@pytest.fixture
def path(outcome):
    return outcome.folder / "model.mlpackage"


@off_a_mac
def test_what_cannot_run_here_is_not_called_passed(outcome):
    states = {result.name: result.passed for result in outcome.results}
    for gate in EXECUTED:
        assert states.pop(gate.__name__) is None
    assert set(states) == {
        "saved_interface", "saved_metadata", "saved_weights", "lowered", "delegation",
    }  # fmt: skip
    assert all(states.values())
    assert outcome.card["executed"] == "not executed: Core ML runs on macOS only"
    assert "latency_ms" not in outcome.card


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
    assert ("cast" in operators["restore"]) == (outcome.card["recipe"]["precision"] == "fp16")
    assert "cast" not in operators["route"]  # the router is fp32 throughout


def test_a_changed_weight_is_found(path, outcome, student):
    info = ModelInfo.from_json(metadata(path), "model")
    program = make_program(student, info, TARGETS["coreml"].swaps)
    assert missing_weights(path, program) == []
    program.lowered.down.weight[0, 0, 0, 0] += 0.1
    assert missing_weights(path, program) == ["forward: down.weight", "restore: down.weight"]
    (recipe,) = read_recipes("coreml", precision=info.precision)
    result = saved_weights(Build(recipe, TARGETS["coreml"], student, program, path, []))
    assert (result.passed, result.figure) == (False, 2)
    assert "restore: down.weight" in result.why


def test_weights_are_stored_once(path, outcome, student):
    size = (path / "Data" / "com.apple.CoreML" / "weights" / "weight.bin").stat().st_size
    router = sum(p.numel() for p in student.router.parameters())
    others = sum(p.numel() for p in student.parameters()) - router
    each = 2 if outcome.card["recipe"]["precision"] == "fp16" else 4
    assert size < 1.1 * (4 * router + each * others) + 8000  # every blob is padded to 64 bytes


def test_a_pinned_package_has_one_function(exported):
    outcome = exported("coreml", precision="fp16", routing="pinned", degradation="rain")
    assert set(outcome.card["operators"]) == {"forward"}
    assert "linear" not in outcome.card["operators"]["forward"]
    assert "routing" not in {result.name for result in outcome.results}


def test_the_spec_holds_no_paths_of_this_machine(path):
    text = (path / "Data" / "com.apple.CoreML" / "model.mlmodel").read_bytes()
    assert b".py" not in text
    assert np.frombuffer(text, np.uint8).size > 1000
