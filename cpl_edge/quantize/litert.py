"""LiteRT: a ``.tflite`` of floats becomes one of integers, by ai-edge-quantizer.

The ranges of activations are ours (`cpl_edge.quantize.ranges`), the same as for every other target:
the quantizer's own calibration is a moving average over samples (measured: 7 dB lost on noise,
because the prompts of another degradation came later). It only runs once, to learn its own names.

Images and prompt weights stay float32 at the boundary, and so does whatever makes numbers of a
prompt: the router and the layers that turn its weights into a scale and a shift for each channel.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cpl_edge.errors import CplEdgeError
from cpl_edge.quantize.ranges import Ranges
from cpl_edge.quantize.recipe import QuantizeRecipe

_ROUTER = "LoweredRouter"
_ROUNDED = {"CONV_2D", "TRANSPOSE_CONV", "MUL", "ADD"}  # operators that make the points
# What stands between convolutions. Padding keeps ranges, and so do shuffles, which are transposed
# convolutions here.
_BETWEEN = ("CONV_2D_TRANSPOSE", "MUL", "ADD", "PAD")
_BITS = {"int8": 8, "int16": 16}


class Step(NamedTuple):
    """An operator that makes a point: its variable inputs and its output by name."""

    point: str
    operator: str
    tensors: list[str]


def quantize_tflite(
    path: Path,
    recipe: QuantizeRecipe,
    ranges: Mapping[str, Ranges],
    points: list[str],
    kept: list[str],
) -> None:
    """Quantise a file in place.

    Args:
        path: a converted file with one or more of the signatures ``forward``, ``route``,
            ``restore``, or those of degradations that have their own.
        recipe: of this target.
        ranges: signature -> those of every point; used where activations have fixed ranges.
        points: all points in the order of execution.
        kept: sites that stay in float.

    Raises:
        CplEdgeError: the file does not hold the operators that the points tell of.
    """
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer.qtyping import TFLOperationName

    tool: Any = quantizer.Quantizer(str(path))
    for operator in ("CONV_2D", *(_BETWEEN if recipe.calibrates else ())):
        name = TFLOperationName(operator)
        if recipe.weights == "fp16":
            tool.add_weight_only_config(".*", name, 16, algorithm_key="float_casting")
        elif recipe.activations == "float":
            tool.add_weight_only_config(".*", name, 8)
        elif recipe.activations == "dynamic":
            tool.add_dynamic_config(".*", name, 8)
        else:
            tool.add_static_config(".*", name, _BITS[recipe.activations], 8)
    found = {name: list(_points(path, name, points)) for name in _signatures(path)}
    rounded = {
        step.tensors[-1]
        for steps in found.values()
        for step in steps
        if step.point.split(":")[0] not in kept
    }
    for output in sorted(_outputs(path) - rounded):
        tool.update_quantization_recipe(
            f"^{re.escape(output)};?$", TFLOperationName("*"), algorithm_key="no_quantize"
        )
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # about constants that signatures share, which they should
    try:
        statistics = _statistics(path, tool, ranges, found) if recipe.calibrates else None
        result = tool.quantize(statistics, enable_progress_bar=False, enable_progress_report=False)
    finally:
        logging.disable(level)
    path.write_bytes(bytes(result.quantized_model))


def _statistics(
    path: Path, tool: Any, ranges: Mapping[str, Ranges], found: dict[str, list[Step]]
) -> dict[str, Any]:
    """Smallest and largest value of every tensor, as the quantizer wants them."""
    statistics: dict[str, Any] = tool.calibrate(
        {name: [_example(path, name)] for name in found}, num_threads=1
    )

    def put(tensor: str, bounds: tuple[float, float]) -> None:
        if tensor not in statistics:  # only the router reads it
            return
        low, high = bounds
        shape = np.shape(statistics[tensor]["min"])
        statistics[tensor] = {
            "min": np.full(shape, low, np.float32),
            "max": np.full(shape, high, np.float32),
        }

    for name, steps in found.items():
        before = ""
        for image in _images(path, name):
            put(image, ranges[name]["input"])
        for point, operator, tensors in steps:
            put(tensors[-1], ranges[name][point])
            site, _, part = point.partition(":")
            if operator in ("MUL", "ADD") and part:
                (other,) = [tensor for tensor in tensors[:-1] if tensor != before]
                put(other, ranges[name][f"{site}:{'scale' if part == 'product' else 'shift'}"])
            before = tensors[-1]
    return statistics


def _points(path: Path, name: str, points: list[str]) -> Iterator[Step]:
    """The steps of one signature; routing has none."""
    wanted = [] if name == "route" else _operators(points)
    steps = list(_steps(path, name)) if wanted else []
    if [operator for operator, _ in steps] != [operator for _, operator in wanted]:
        raise CplEdgeError(
            f"the signature {name!r} has other operators than the student: "
            f"{len(steps)} where {len(wanted)} were expected"
        )
    for (point, operator), (_, tensors) in zip(wanted, steps, strict=True):
        yield Step(point, operator, tensors)


def _operators(points: list[str]) -> list[tuple[str, str]]:
    """The operator that makes each point."""
    made = []
    for point in points:
        site, _, part = point.partition(":")
        if point == "input" or part in ("scale", "shift"):
            continue
        last = site.split(".")[-1]
        if site in ("up", "tail"):
            made += [(point, "CONV_2D"), (point, "TRANSPOSE_CONV")]  # the shuffle is one
        elif part == "product":
            made.append((point, "MUL"))
        else:
            is_sum = part == "sum" or last in ("sum", "skip")
            made.append((point, "ADD" if is_sum else "CONV_2D"))
    return made


def _steps(path: Path, name: str) -> Iterator[tuple[str, list[str]]]:
    """Operators on images outside the router: their variable inputs and output by name."""
    from ai_edge_litert import schema_py_generated as schema

    names = {code: word for word, code in vars(schema.BuiltinOperator).items()}
    model, graph = _graph(path, name)
    made = {int(i) for op in graph.operators for i in op.outputs} | {int(i) for i in graph.inputs}
    for op in graph.operators:
        operator = names[_code(model, op)]
        output = graph.tensors[op.outputs[0]]
        on_image = len(output.shape) == 4 and output.shape[1] > 1
        if operator in _ROUNDED and on_image and _ROUTER not in output.name.decode():
            variable = [int(i) for i in op.inputs if int(i) in made]
            yield operator, [graph.tensors[i].name.decode() for i in [*variable, op.outputs[0]]]


def _outputs(path: Path) -> set[str]:
    """Outputs of all operators of a kind that could be rounded."""
    from ai_edge_litert import schema_py_generated as schema

    names = {code: word for word, code in vars(schema.BuiltinOperator).items()}
    model = _model(path)
    return {
        graph.tensors[op.outputs[0]].name.decode()
        for graph in model.subgraphs
        for op in graph.operators
        if names[_code(model, op)] in _ROUNDED
    }


def _code(model: Any, op: Any) -> int:
    code = model.operatorCodes[op.opcodeIndex]
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _signatures(path: Path) -> list[str]:
    return [signature.signatureKey.decode() for signature in _model(path).signatureDefs]


def _images(path: Path, name: str) -> list[str]:
    _, graph = _graph(path, name)
    tensors = [graph.tensors[i] for i in graph.inputs]
    return [tensor.name.decode() for tensor in tensors if len(tensor.shape) == 4]


def _example(path: Path, name: str) -> dict[str, npt.NDArray[np.float32]]:
    """Any inputs at all: what they lead to is replaced."""
    model, graph = _graph(path, name)
    (signature,) = [s for s in model.signatureDefs if s.signatureKey.decode() == name]
    return {
        item.name.decode(): np.full(graph.tensors[item.tensorIndex].shape, 0.5, np.float32)
        for item in signature.inputs
    }


def _graph(path: Path, name: str) -> tuple[Any, Any]:
    model = _model(path)
    (signature,) = [s for s in model.signatureDefs if s.signatureKey.decode() == name]
    return model, model.subgraphs[signature.subgraphIndex]


def _model(path: Path) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
