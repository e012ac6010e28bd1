"""ONNX files: modules from the names of the weights, work from the shapes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
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
_FORMS = ("DequantizeLinear", "QuantizeLinear", "Identity", "Cast", "Transpose", "Reshape")


def read(path: Path) -> dict[str, Graph]:
    """See `cpl_edge.profile.graph.read_graphs`; ONNX has one graph for all entry points."""
    onnx = require("onnx", extra="onnx")
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    graphs = _with_branches(model.graph)
    shapes = {t.name: tuple(t.dims) for graph in graphs for t in graph.initializer}
    weights = set(shapes)
    for value in (v for graph in graphs for v in (*graph.input, *graph.value_info, *graph.output)):
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        shapes.setdefault(value.name, tuple(dims))
    made_from = _constants(graphs, weights)
    nodes = [
        replace(
            _node(alike[0], shapes, made_from),
            aliases=frozenset(name for node in alike for name in (node.name, *node.output) if name),
        )
        for alike in _run(model.graph, weights)
    ]
    return {GRAPH: Graph(with_neighbours(nodes))}


def _with_branches(graph: Any) -> list[Any]:
    return [graph, *(inner for part in _inside(graph.node) for inner in _with_branches(part))]


def _inside(nodes: Iterable[Any]) -> list[Any]:
    """The branches of ``If``."""
    return [a.g for node in nodes for a in node.attribute if a.HasField("g")]


def _run(graph: Any, weights: set[str]) -> list[list[Any]]:
    """What one call runs, in order: each operator, and those of other branches in its place.

    Branches of other operators than the first one's are left out. So are conditions, and weights
    that are brought into shape, which a runtime does when it opens the file.
    """
    conditions = {node.input[0] for node in graph.node if _inside([node])}
    places: list[list[Any]] = []
    for node in graph.node:
        if branches := [_run(part, weights) for part in _inside([node])]:
            kinds = [[place[0].op_type for place in branch] for branch in branches]
            alike = [b for b, kind in zip(branches, kinds, strict=True) if kind == kinds[0]]
            places += [[n for place in group for n in place] for group in zip(*alike, strict=True)]
        elif node.output[0] in conditions:
            continue
        elif node.op_type != "Reshape" or node.input[0] not in weights:
            places.append([node])
    return places


def _constants(graphs: Iterable[Any], weights: set[str]) -> dict[str, str]:
    """Tensor -> the weights that it is made from, by operators that change its form alone."""
    sources = {name: name for name in weights}
    for node in (node for graph in graphs for node in graph.node):
        if node.op_type in _FORMS:
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
