"""What is a shuffle, and what is not, in TFLite files that are made by hand."""

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from cpl_edge.export.flatbuffer import pack_model, read_model, use_depth_to_space, write_metadata
from cpl_edge.export.lowering import one_hot_shuffle

KINDS = schema.TensorType
NUMBERS = {KINDS.FLOAT32: np.float32, KINDS.INT8: np.int8, KINDS.INT32: np.int32}
SHAPE, WEIGHTS, IMAGE, BIAS, MADE = range(5)  # tensors of the file
CHANNELS = 3


def hand_made(integers: bool = False):
    """The smallest file with a shuffle: one signature of one transposed convolution."""
    kind, index = (KINDS.INT8, KINDS.INT32) if integers else (KINDS.FLOAT32, KINDS.FLOAT32)
    w_OHWI = one_hot_shuffle(CHANNELS).weight.permute(1, 2, 3, 0).detach().numpy()
    scales = {WEIGHTS: [1 / 127] * CHANNELS, IMAGE: [0.1], BIAS: [0.1 / 127], MADE: [0.1]}
    model, graph, signature = schema.ModelT(), schema.SubGraphT(), schema.SignatureDefT()
    model.version, model.buffers, graph.tensors = 3, [schema.BufferT()], []
    for i, (name, shape, numbers, data) in enumerate(
        [
            ("shape", [4], KINDS.INT32, np.array([1, 8, 12, CHANNELS])),
            ("weights", w_OHWI.shape, kind, w_OHWI * (127 if integers else 1)),
            ("image", [1, 4, 6, 4 * CHANNELS], kind, None),
            ("bias", [CHANNELS], index, np.zeros(CHANNELS)),
            ("made", [1, 8, 12, CHANNELS], kind, None),
        ]
    ):
        tensor, buffer = schema.TensorT(), schema.BufferT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), numbers
        tensor.buffer = len(model.buffers)
        if data is not None:
            buffer.data = np.frombuffer(data.astype(NUMBERS[numbers]).tobytes(), np.uint8)
        if integers and i in scales:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = scales[i]
            tensor.quantization.zeroPoint = [0] * len(scales[i])
        graph.tensors.append(tensor)
        model.buffers.append(buffer)
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.TRANSPOSE_CONV
    code.version = 3
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [SHAPE, WEIGHTS, IMAGE, BIAS], [4]
    operator.builtinOptionsType = schema.BuiltinOptions.TransposeConvOptions
    operator.builtinOptions = schema.TransposeConvOptionsT()
    operator.builtinOptions.strideH = operator.builtinOptions.strideW = 2
    operator.builtinOptions.padding = schema.Padding.VALID
    graph.operators, graph.inputs, graph.outputs = [operator], [IMAGE], [MADE]
    ends = [schema.TensorMapT(), schema.TensorMapT()]
    for end, name, i in zip(ends, ("x", "y"), (IMAGE, MADE), strict=True):
        end.name, end.tensorIndex = name, i
    signature.inputs, signature.outputs = ends[:1], ends[1:]
    signature.signatureKey, signature.subgraphIndex = "forward", 0
    model.operatorCodes, model.subgraphs, model.signatureDefs = [code], [graph], [signature]
    return model


def constant(model, tensor, numbers):
    """A constant of the file, as an array that can be written to."""
    data = np.array(model.buffers[model.subgraphs[0].tensors[tensor].buffer].data)
    model.buffers[model.subgraphs[0].tensors[tensor].buffer].data = data
    return data.view(numbers)


@pytest.mark.parametrize("integers", [False, True])
def test_a_shuffle_is_known_in_float_and_rounded(tmp_path, integers):
    path = tmp_path / "model.tflite"
    path.write_bytes(pack_model(hand_made(integers)))
    write_metadata(path, "about", "a shuffle")
    assert use_depth_to_space(path) == 1
    model = read_model(path)
    (operator,) = model.subgraphs[0].operators
    assert operator.builtinOptions.blockSize == 2
    assert [tensor.name for tensor in model.subgraphs[0].tensors] == [b"image", b"made"]
    assert bytes(model.buffers[model.metadata[0].buffer].data) == b"a shuffle"
    numbers = np.int8 if integers else np.float32
    x = np.random.default_rng(0).integers(-99, 99, (1, 4, 6, 4 * CHANNELS)).astype(numbers)
    (y,) = Interpreter(str(path)).get_signature_runner("forward")(x=x).values()
    x_BCHW = torch.from_numpy(x).float().permute(0, 3, 1, 2)
    expected_BCHW = one_hot_shuffle(CHANNELS)(x_BCHW).detach()
    assert np.array_equal(y, expected_BCHW.permute(0, 2, 3, 1).numpy())


def _one_weight(model):
    constant(model, WEIGHTS, np.float32)[5] = 0.5


def _twice(model):
    constant(model, WEIGHTS, np.float32)[:] *= 2


def _channels_first(model):
    w_OHWI = torch.eye(4 * CHANNELS).view(4 * CHANNELS, CHANNELS, 2, 2).permute(1, 2, 3, 0)
    constant(model, WEIGHTS, np.float32)[:] = w_OHWI.flatten().numpy()


def _bias(model):
    constant(model, BIAS, np.float32)[1] = 0.5


def _relu(model):
    options = model.subgraphs[0].operators[0].builtinOptions
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU


def _weights_of_twice_the_scale(model):
    model.subgraphs[0].tensors[WEIGHTS].quantization.scale = [2 / 127] * CHANNELS


def _another_scale(model):
    model.subgraphs[0].tensors[MADE].quantization.scale = [0.2]


def _another_zero(model):
    model.subgraphs[0].tensors[MADE].quantization.zeroPoint = [1]


def _sixteen_bits(model):
    """LiteRT has no kernel of DEPTH_TO_SPACE for them."""
    for tensor in (IMAGE, MADE):
        model.subgraphs[0].tensors[tensor].type = KINDS.INT16


FLOATS = [_one_weight, _twice, _channels_first, _bias, _relu]
INTEGERS = [_weights_of_twice_the_scale, _another_scale, _another_zero, _sixteen_bits]


@pytest.mark.parametrize("change", FLOATS + INTEGERS, ids=lambda change: change.__name__.strip("_"))
def test_what_is_no_shuffle_is_left_alone(tmp_path, change):
    model, path = hand_made(change in INTEGERS), tmp_path / "model.tflite"
    change(model)
    path.write_bytes(before := pack_model(model))
    assert use_depth_to_space(path) == 0
    assert path.read_bytes() == before
