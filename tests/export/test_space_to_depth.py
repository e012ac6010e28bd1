"""Builds with dynamic ranges unshuffle by SPACE_TO_DEPTH, and compute what they did before."""

import shutil

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from cpl_edge.export.build import export
from cpl_edge.export.flatbuffer import pack_model, read_model, use_space_to_depth
from cpl_edge.export.lowering import one_hot_unshuffle
from cpl_edge.export.recipe import read_recipes
from cpl_edge.export.targets.litert import LiteRT
from cpl_edge.export.targets.target import Target

NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items()}


def operators(path):
    """Names of the operators of each signature."""
    model = read_model(path)
    graphs = {
        s.signatureKey.decode(): model.subgraphs[s.subgraphIndex] for s in model.signatureDefs
    }
    return {
        name: [NAMES[model.operatorCodes[op.opcodeIndex].builtinCode] for op in graph.operators]
        for name, graph in graphs.items()
    }


def outputs(path):
    """What all signatures of a file make of the same random inputs."""
    interpreter, found = Interpreter(str(path), num_threads=1), {}
    for name in interpreter.get_signature_list():
        runner, random = interpreter.get_signature_runner(name), np.random.default_rng(0)
        inputs = sorted(runner.get_input_details().items())
        given = {key: random.random(d["shape"], np.float32) for key, d in inputs}
        found |= {(name, key): made for key, made in runner(**given).items()}
    return found


def build(weights, out, precision):
    recipes = read_recipes("litert", precision=precision, routing="auto", size="64x72")
    (outcome,) = export(recipes, str(weights), out, keep_refused=True)
    return outcome.folder / "model.tflite", outcome.card


def test_dynamic_builds_unshuffle_in_the_delegate_and_compute_the_same(weights, tmp_path):
    path, card = build(weights, tmp_path / "new", "dynamic")
    assert {name: made.count("SPACE_TO_DEPTH") for name, made in operators(path).items()} == {
        "forward": 1,  # the converter made one of the router's and the head's
        "route": 1,
        "restore": 1,
    }
    assert not any(card["outside"].values()) and set(card["partitions"].values()) == {1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LiteRT, "lower", Target.lower)
        folded, _ = build(weights, tmp_path / "old", "dynamic")
    assert not any("SPACE_TO_DEPTH" in made for made in operators(folded).values())
    made = outputs(path)
    for key, expected in outputs(folded).items():
        assert expected.std() > 1e-3
        np.testing.assert_allclose(made[key], expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("precision", ["fp32", "w8a8"])
def test_other_builds_fold_it(weights, tmp_path, precision):
    path, _ = build(weights, tmp_path, precision)
    assert not any("SPACE_TO_DEPTH" in made for made in operators(path).values())


CHANNELS = 3


def convolution(change=None):
    """The smallest file with an unshuffle: one convolution of zeros and ones."""
    w_OHWI = one_hot_unshuffle(CHANNELS).weight.permute(0, 2, 3, 1).detach().numpy().copy()
    bias = np.zeros(len(w_OHWI), np.float32)
    model, graph, signature = schema.ModelT(), schema.SubGraphT(), schema.SignatureDefT()
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = 2
    options.padding = schema.Padding.VALID
    if change:
        change(w_OHWI, bias, options)
    model.version, model.buffers, graph.tensors = 3, [schema.BufferT()], []
    for name, shape, data in [
        ("image", [1, 8, 12, CHANNELS], None),
        ("weights", w_OHWI.shape, w_OHWI),
        ("bias", bias.shape, bias),
        ("made", [1, 8 // options.strideH, 12 // options.strideW, len(w_OHWI)], None),
    ]:
        tensor, buffer = schema.TensorT(), schema.BufferT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), schema.TensorType.FLOAT32
        tensor.buffer = len(model.buffers)
        if data is not None:
            buffer.data = np.frombuffer(data.astype(np.float32).tobytes(), np.uint8)
        graph.tensors.append(tensor)
        model.buffers.append(buffer)
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    code.version = 1
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1, 2], [3]
    operator.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
    operator.builtinOptions = options
    graph.operators, graph.inputs, graph.outputs = [operator], [0], [3]
    ends = [schema.TensorMapT(), schema.TensorMapT()]
    for end, name, i in zip(ends, ("x", "y"), (0, 3), strict=True):
        end.name, end.tensorIndex = name, i
    signature.inputs, signature.outputs = ends[:1], ends[1:]
    signature.signatureKey, signature.subgraphIndex = "forward", 0
    model.operatorCodes, model.subgraphs, model.signatureDefs = [code], [graph], [signature]
    return model


def test_an_unshuffle_is_known_and_does_what_it_did(tmp_path):
    path, before = tmp_path / "model.tflite", tmp_path / "before.tflite"
    path.write_bytes(pack_model(convolution()))
    shutil.copy(path, before)
    assert use_space_to_depth(path) == 1
    assert operators(path) == {"forward": ["SPACE_TO_DEPTH"]}
    for key, expected in outputs(before).items():
        assert np.array_equal(outputs(path)[key], expected)
    assert use_space_to_depth(path) == 0


def _one_weight(w_OHWI, bias, options):
    w_OHWI[0, 1, 1, 2] = 0.5


def _torchs_order(w_OHWI, bias, options):
    w_OIHW = torch.eye(4 * CHANNELS).view(4 * CHANNELS, CHANNELS, 2, 2)
    w_OHWI[:] = w_OIHW.permute(0, 2, 3, 1).numpy()


def _bias(w_OHWI, bias, options):
    bias[1] = 0.5


def _relu(w_OHWI, bias, options):
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU


def _overlap(w_OHWI, bias, options):
    options.strideH = options.strideW = 1


def _overlap_in_rows(w_OHWI, bias, options):
    options.strideW = 1


CHANGES = [_one_weight, _torchs_order, _bias, _relu, _overlap, _overlap_in_rows]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
def test_what_is_no_unshuffle_stays_a_convolution(tmp_path, change):
    path = tmp_path / "model.tflite"
    path.write_bytes(before := pack_model(convolution(change)))
    assert use_space_to_depth(path) == 0
    assert path.read_bytes() == before
