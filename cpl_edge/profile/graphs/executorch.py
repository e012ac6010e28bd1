"""ExecuTorch files: a plan for each entry point; XNNPACK's pieces are graphs of their own."""

from __future__ import annotations

import importlib.resources
import json
import math
import re
import tempfile
from pathlib import Path
from typing import Any

from cpl_edge.errors import UserError, require
from cpl_edge.profile.graph import Graph, Node, named_by_order, with_neighbours
from cpl_edge.profile.places import Kind, kind_of
from cpl_edge.runtimes.info import KEY

_WEIGHTED: dict[str, Kind] = {
    "XNNConv2d": "conv",
    "XNNDepthwiseConv2d": "conv",
    "XNNConvTranspose2d": "deconv",
    "XNNFullyConnected": "linear",
}


def read(path: Path) -> dict[str, Graph]:
    """See `cpl_edge.profile.graph.read_graphs`."""
    module = require("executorch.exir._serialize._program", extra="executorch")
    try:
        program = module.deserialize_pte_binary(path.read_bytes()).program
    except (ValueError, RuntimeError, AssertionError) as error:
        raise UserError(f"{path} is no ExecuTorch program: copy or export it again") from error
    blobs = [bytes(blob.data) for blob in program.backend_delegate_data]
    return {plan.name: _graph(plan, blobs) for plan in program.execution_plan if plan.name != KEY}


def _graph(plan: Any, blobs: list[bytes]) -> Graph:
    nodes: list[Node] = []
    left: list[Node] = []
    partitions = 0
    for instruction in (i for chain in plan.chains for i in chain.instructions):
        call = instruction.instr_args
        if type(call).__name__ == "DelegateCall":
            delegate = plan.delegates[call.delegate_index]
            partitions += 1
            if delegate.id == "XnnpackBackend":
                nodes += _xnnpack(blobs[delegate.processed.index])
        elif type(call).__name__ == "KernelCall":
            operator = plan.operators[call.op_index].name
            left.append(Node(operator, kind_of(operator), frozenset({operator})))
            nodes.append(left[-1])
    return Graph(with_neighbours(named_by_order(nodes)), left, partitions)


def _xnnpack(blob: bytes) -> list[Node]:
    """Operators of one piece: a header, then a flatbuffer that ``flatc`` turns into JSON.

    XNNPACK keeps no names, so modules come from the order.
    """
    serialization = require(
        "executorch.backends.xnnpack.serialization.xnnpack_graph_serialize", extra="executorch"
    )
    flatbuffer = require("executorch.exir._serialize._flatbuffer", extra="executorch")
    header = serialization.XNNHeader.from_bytes(blob[: serialization.XNNHeader.EXPECTED_LENGTH])
    start = header.flatbuffer_offset
    with tempfile.TemporaryDirectory() as folder:
        schema, data = Path(folder, "schema.fbs"), Path(folder, "piece.bin")
        package = "executorch.backends.xnnpack.serialization"
        schema.write_bytes(importlib.resources.files(package).joinpath("schema.fbs").read_bytes())
        data.write_bytes(blob[start : start + header.flatbuffer_size])
        flatbuffer._flatc_decompile(folder, str(schema), str(data), ["--raw-binary"])
        text = Path(folder, "piece.json").read_text(encoding="utf-8")
    graph = json.loads(re.sub(r": -?(inf|nan)\b", ": null", text))  # flatc's, which JSON lacks
    dims = [_dims(value) for value in graph["xvalues"]]
    return [_node(node, dims) for node in graph["xnodes"]]


def _dims(value: dict[str, Any]) -> dict[int, list[int]] | None:
    tensor = value.get("xvalue_union", {})
    tensor = tensor.get("tensor_value", tensor)
    return {tensor.get("id_out", 0): tensor.get("dims", [])}


def _node(node: dict[str, Any], values: list[dict[int, list[int]] | None]) -> Node:
    operator = node["xnode_union_type"]
    kind = _WEIGHTED.get(operator, "other")
    if kind == "other":
        return Node(operator.removeprefix("XNN"), kind, macs=0)
    dims = {number: shape for value in values if value for number, shape in value.items()}
    union = node["xnode_union"]
    weight = dims.get(union.get("filter_id", 0), [])
    given = dims.get(union.get("input1_id", 0), [])
    out = dims.get(union.get("output_id", 0), [])
    macs, channels = None, None
    if kind == "linear" and len(weight) == 2 and given:
        macs = math.prod(weight) * math.prod(given[:-1])
        channels = (weight[1], weight[0])
    elif len(weight) == 4 and len(out) == 4 and len(given) == 4:
        area = given[1:3] if kind == "deconv" else out[1:3]
        macs, channels = math.prod(weight) * math.prod(area), (given[-1], out[-1])
    return Node(operator.removeprefix("XNN"), kind, macs=macs, channels=channels)
