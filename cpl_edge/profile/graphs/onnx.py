"""ONNX files: modules from the names of the weights, work from the shapes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from cpl_edge.errors import require
from cpl_edge.profile.graph import GRAPH, Graph, Node, with_neighbours
from cpl_edge.profile.places import Kind, module_from_path
from cpl_edge.profile.schema import UNKNOWN, Mapping

_WEIGHTED: dict[str, Kind] = {
    "Conv": "conv",
    "ConvInteger": "conv",
    "QLinearConv": "conv",
    "ConvTranspose": "deconv",
    "Gemm": "linear",
    "MatMul": "linear",
    "QLinearMatMul": "linear",
    "QGemm": "linear",
}


def read(path: Path) -> dict[str, Graph]:
    """See `cpl_edge.profile.graph.read_graphs`; ONNX has one graph for all entry points."""
    onnx = require("onnx", extra="onnx")
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    graph = model.graph
    shapes = {t.name: tuple(t.dims) for t in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        shapes.setdefault(value.name, tuple(dims))
    weights = {t.name for t in graph.initializer}
    made_from = _constants(graph, weights)
    nodes = [_node(node, shapes, made_from) for node in graph.node]
    return {GRAPH: Graph(with_neighbours(nodes))}


def _constants(graph: Any, weights: set[str]) -> dict[str, str]:
    """Tensor -> the weights that it is made from, through QuantizeLinear and DequantizeLinear."""
    sources = {name: name for name in weights}
    for node in graph.node:
        if node.op_type in ("DequantizeLinear", "QuantizeLinear", "Identity", "Cast", "Transpose"):
            source = sources.get(node.input[0])
            if source is not None:
                sources[node.output[0]] = source
    return sources


def _node(node: Any, shapes: dict[str, tuple[int, ...]], made_from: dict[str, str]) -> Node:
    kind = _WEIGHTED.get(node.op_type, "other")
    aliases = frozenset(filter(None, [node.name, *node.output]))
    if kind == "other":
        return Node(node.op_type, kind, aliases, macs=0)
    index = 3 if node.op_type in ("QLinearConv", "QLinearMatMul") else 1
    weight = node.input[index]
    module = module_from_path(made_from[weight]) if weight in made_from else UNKNOWN
    shape, out = shapes.get(weight, ()), shapes.get(node.output[0], ())
    given = shapes.get(node.input[0], ())
    macs, channels = None, None
    if kind == "linear" and given and out:
        macs, channels = given[-1] * math.prod(out), (given[-1], out[-1])
    elif len(shape) == 4 and len(out) == 4 and all(out) and len(given) == 4:
        area = given[2:] if kind == "deconv" else out[2:]
        macs, channels = math.prod(shape) * math.prod(area), (given[1], out[1])
    mapping: Mapping = "unknown" if module == UNKNOWN else "name"
    return Node(node.op_type, kind, aliases, module, mapping, macs, channels)
