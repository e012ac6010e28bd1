"""Ranges found while running: what the files compute, and what stays in float."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from cpl_edge.errors import UserError
from cpl_edge.export.build import describe
from cpl_edge.export.recipe import read_recipes
from cpl_edge.export.targets import TARGETS
from cpl_edge.models.zoo import save_student
from cpl_edge.quantize.calibration import make_calibration
from cpl_edge.quantize.executorch import quantize_entry
from cpl_edge.quantize.preparation import prepare
from cpl_edge.quantize.recipe import CalibrationSet, read_quantize_recipe
from cpl_edge.quantize.rounding import round_activations, round_weights
from cpl_edge.quantize.simulation import sqnr
from cpl_edge.quantize.support import SUPPORT
from cpl_edge.runtimes import open_runtime

SIZE = (64, 72)
FLOAT = {"litert": ["router", "head", "tail", "up"], "executorch": ["router", "head", "tail"]}
DYNAMIC = list(FLOAT)


@pytest.fixture(scope="module", params=DYNAMIC)
def rounded(request, student):
    """A target, and the student with what its convolutions read rounded in the present range."""
    folded, how = prepare(student, read_quantize_recipe(f"{request.param}-dynamic"), SIZE)
    assert how.ranges == {}
    copied = copy.deepcopy(folded)
    for name, module in copied.named_modules():
        if isinstance(module, nn.Conv2d) and name.split(".")[0] not in FLOAT[request.param]:
            with torch.no_grad():
                module.weight.copy_(round_weights(module.weight.detach()))
            module.register_forward_pre_hook(_round)
    return request.param, copied


def _round(module, inputs):
    (x,) = inputs
    return (round_activations(x, float(x.min()), float(x.max())),)


@pytest.fixture(scope="module")
def crops(student):
    chosen = CalibrationSet(crops=1)
    return make_calibration(chosen, student.config.degradations, SIZE, judging=True).crops


def test_the_file_rounds_what_convolutions_read(built, student, rounded, crops):
    target, rounding = rounded
    outcome = built(target, "dynamic")
    runtime = open_runtime(outcome.folder / outcome.card["model"])
    closer = []
    try:
        for x in crops:
            with torch.no_grad():
                w = student.route(x)
                expected, floats = rounding.restore(x, w), student.restore(x, w)
            (y,) = runtime.run("restore", x.numpy(), w.numpy())
            (through,) = runtime.run("forward", x.numpy())
            found, _ = runtime.run("route", x.numpy())
            y = torch.from_numpy(y)
            assert sqnr([floats - x], [y - x]) > 20
            closer.append(sqnr([expected], [y]) - sqnr([floats], [y]))
            assert np.abs(through - y.numpy()).max() < 0.03
            assert np.abs(found - w.numpy()).max() < 1e-4  # the router is in float
    finally:
        runtime.close()
    assert np.mean(closer) > 3  # dB: these roundings, and not others of the same size


@pytest.mark.parametrize("target", DYNAMIC)
def test_one_piece_without_ranges(built, target):
    card = built(target, "dynamic").card
    gates = {gate["name"]: gate["passed"] for gate in card["gates"]}
    assert gates["delegation"]
    assert gates["interface"]
    assert gates["metadata"]
    assert card["quantization"]["float"] == FLOAT[target]
    assert card["quantization"]["calibration"]["count"] == 8 * 5  # they scale channels


def test_transposed_convolutions_are_in_float(built):
    """TensorFlow 2.16.1 and tflite-runtime 2.14 do not open a file that has a dynamic one."""
    from ai_edge_litert import schema_py_generated as schema

    outcome = built("litert", "dynamic")
    content = (outcome.folder / outcome.card["model"]).read_bytes()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    kinds = {"CONV_2D": set(), "TRANSPOSE_CONV": set()}
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex].builtinCode
            for name, found in kinds.items():
                if code == getattr(schema.BuiltinOperator, name):
                    found.add(graph.tensors[operator.inputs[1]].type)
    assert kinds["TRANSPOSE_CONV"] == {schema.TensorType.FLOAT32}
    assert schema.TensorType.INT8 in kinds["CONV_2D"]


def test_a_pinned_build_rounds_all_of_it_too(student, tmp_path):
    """XNNPACK's own quantiser leaves out a convolution that a ReLU follows."""
    weights = tmp_path / "tiny.safetensors"
    save_student(student, weights)
    (recipe,) = read_recipes(
        "executorch", precision="dynamic", routing="pinned", degradation="noise", size="64x72"
    )
    pinned = student.pin(torch.eye(student.config.prompts)[0])
    folded, how = prepare(pinned, recipe.quantization, SIZE, degradation="noise")
    info = describe(recipe, TARGETS["executorch"], student, weights)
    program = replace(TARGETS["executorch"].lower(folded, info), quantization=how)
    graph = quantize_entry(program.entries["forward"], program.inputs("forward"), how)
    convs = [n for n in graph.graph.nodes if n.target == torch.ops.aten.conv2d.default]
    floats = [n for n in convs if "dequantize" not in str(n.args[0].target)]
    assert len(convs) == 10
    assert [n.args[1].target.split(".")[1] for n in floats] == ["head", "tail"]


@pytest.mark.parametrize("target", ["coreml", "onnx"])
def test_other_targets_say_why_not(target):
    assert "nearest: --precision" in SUPPORT[target]["dynamic"]
    (recipe,) = read_recipes(target, precision="dynamic")
    with pytest.raises(UserError):
        _ = recipe.quantization


@pytest.mark.parametrize(
    ("precision", "activations"), [("dynamic", "int8"), ("w8a8", "dynamic"), ("w8", "dynamic")]
)
def test_a_recipe_cannot_be_half_dynamic(tmp_path, precision, activations):
    path = tmp_path / "mine.toml"
    path.write_text(
        f'target = "litert"\nprecision = "{precision}"\nweights = "int8"\n'
        f'activations = "{activations}"\n'
    )
    with pytest.raises(UserError, match="go together"):
        read_quantize_recipe(str(path))
