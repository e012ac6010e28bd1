"""ONNX Runtime: QuantizeLinear and DequantizeLinear around the operators of a graph.

The ranges of activations are ours (`cpl_edge.quantize.ranges`), so ONNX Runtime's calibration is
not used. Activations are uint8 and weights int8, which x86 and ARM both have instructions for.
Whatever leads to the router's outputs stays in float, as do the layers that make a scale and a
shift of prompt weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cpl_edge.errors import CplEdgeError
from cpl_edge.quantize.preparation import Quantization

if TYPE_CHECKING:
    import onnx

_ROUTED = {"w", "logits"}  # outputs of the router
_STEPS = {"Conv", "Mul", "Add", "DepthToSpace"}  # operators that make the points


def quantize_graph(model: onnx.ModelProto, how: Quantization) -> onnx.ModelProto:
    """A graph whose activations and weights are rounded.

    Args:
        model: exported, with the shapes of its tensors.
        how: recipe, ranges and what stays in float.

    Raises:
        CplEdgeError: the graph does not hold the operators that the points tell of.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    steps = _steps(model)
    wanted = _operators(how.points)
    if [node.op_type for node in steps] != [operator for _, operator in wanted]:
        raise CplEdgeError(
            f"the graph has other operators than the student: {len(steps)} where {len(wanted)} "
            "were expected"
        )
    ranges = {"x": how.ranges["input"]}
    rounded: dict[str, None] = {}
    for node, (point, _) in zip(steps, wanted, strict=True):
        site, _, part = point.partition(":")
        for name in node.input if part else ():  # the other input is the step before
            ranges.setdefault(name, how.ranges[f"{site}:{_FACTOR[part]}"])
        ranges[node.output[0]] = how.ranges[point]
        relu = [n for n in model.graph.node if n.op_type == "Relu" and n.input[0] == node.output[0]]
        ranges |= {n.output[0]: how.ranges[point] for n in relu}
        if site not in how.kept:
            rounded |= dict.fromkeys(n.name for n in (node, *relu))
    bounds: Any = {
        name: (np.array(low, np.float32), np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
    tool: Any = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, bounds),
        nodes_to_quantize=list(rounded),
        nodes_to_exclude=[],
        op_types_to_quantize=[*_STEPS, "Relu"],
        extra_options={},
    )
    tool.quantize_model()
    tool.model.topological_sort()
    quantized: onnx.ModelProto = tool.model.model
    return quantized


_FACTOR = {"product": "scale", "sum": "shift"}


def _operators(points: list[str]) -> list[tuple[str, str]]:
    """The operator that makes each point."""
    made = []
    for point in points:
        site, _, part = point.partition(":")
        if point == "input" or part in ("scale", "shift"):
            continue
        if site in ("up", "tail"):
            made += [(point, "Conv"), (point, "DepthToSpace")]
        elif part == "product":
            made.append((point, "Mul"))
        else:
            is_sum = part == "sum" or site.split(".")[-1] in ("sum", "skip")
            made.append((point, "Add" if is_sum else "Conv"))
    return made


def _steps(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Operators on images that do not belong to the router."""
    graph = model.graph
    maker = {name: node for node in graph.node for name in node.output}
    routing: set[str] = set()
    pending = [name for name in _ROUTED if name in maker]
    while pending:
        node = maker.get(pending.pop())
        if node is not None and node.name not in routing:
            routing.add(node.name)
            pending.extend(node.input)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output)
    }
    return [
        node
        for node in graph.node
        if node.op_type in _STEPS and node.name not in routing and _is_image(shapes, node.output[0])
    ]


def _is_image(shapes: dict[str, list[int]], name: str) -> bool:
    shape = shapes.get(name, [])
    return len(shape) == 4 and shape[2] > 1
