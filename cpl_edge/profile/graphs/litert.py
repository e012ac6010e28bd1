"""LiteRT files: a subgraph for each entry point; tensors are named after the modules made them."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpl_edge.profile.graph import Graph, Node, named_by_order, with_neighbours
from cpl_edge.profile.places import Kind

_WEIGHTED: dict[str, Kind] = {
    "CONV_2D": "conv",
    "TRANSPOSE_CONV": "deconv",
    "FULLY_CONNECTED": "linear",
}


def read(path: Path) -> dict[str, Graph]:
    """See `cpl_edge.profile.graph.read_graphs`."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    codes = [names[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in model.operatorCodes]
    return {
        signature.signatureKey.decode(): Graph(
            _nodes(model.subgraphs[signature.subgraphIndex], codes)
        )
        for signature in model.signatureDefs or []
    }


def _nodes(subgraph: Any, codes: list[str]) -> list[Node]:
    nodes = []
    for index, op in enumerate(subgraph.operators):
        operator = codes[op.opcodeIndex]
        outputs = [subgraph.tensors[i] for i in op.outputs]
        aliases = frozenset([*(t.name.decode() for t in outputs), f"#{index}"])
        kind = _WEIGHTED.get(operator, "other")
        if kind == "other":
            nodes.append(Node(operator, kind, aliases, macs=0))
            continue
        given, weight = (subgraph.tensors[i] for i in op.inputs[:2])
        if kind == "deconv":  # inputs: shape of the output, weights, image
            given = subgraph.tensors[op.inputs[2]]
        nodes.append(
            _weighted(operator, kind, aliases, given.shape, weight.shape, outputs[0].shape)
        )
    return _named(nodes)


def _weighted(
    operator: str, kind: Kind, aliases: frozenset[str], given: Any, weight: Any, out: Any
) -> Node:
    """Shapes are NHWC, weights OHWI (linear: OI), each a sequence of integers."""
    area = {"conv": out[1:3], "deconv": given[1:3], "linear": []}[kind]
    rows = math.prod(int(n) for n in given[:-1]) if kind == "linear" else 1
    macs = math.prod(int(n) for n in weight) * math.prod(int(n) for n in area) * rows
    channels = (int(weight[-1]), int(weight[0]))
    return Node(operator, kind, aliases, macs=macs, channels=channels)


def _named(nodes: list[Node]) -> list[Node]:
    """Give each weighted node its module.

    The converter's names tell ``LoweredBlock_0/..._expand`` without the stage, so the stage comes
    from the order; where the names tell another part than the order, neither is trusted.
    """
    named = named_by_order(nodes)
    weighted = [node for node in named if node.kind != "other"]
    if not all(_agrees(node) for node in weighted):
        return nodes
    if all(_ends(node) for node in weighted):
        named = [n if n.kind == "other" else replace(n, mapping="name") for n in named]
    return with_neighbours(named)


def _agrees(node: Node) -> bool:
    """Whether the names, if any tells a module, tell the one that the order told."""
    last = node.module.rpartition(".")[2]
    last = {"conv1": "first", "conv2": "second"}.get(last, last)
    ends = _ends(node)
    return not ends or any(end in (last, "0", "1") for end in ends)


def _ends(node: Node) -> list[str]:
    """Attributes that the names tell, e.g. ``expand``; ``0`` or ``1`` inside a Sequential."""
    return [
        re.sub(r";\d*$", "", part).rpartition("_")[2]
        for alias in node.aliases
        for part in alias.split(";;")
        if re.search(r"(Conv2d|ConvTranspose2d|Linear)_\w+(;\d*)?$", part)
    ]
