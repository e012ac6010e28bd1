"""ONNX graphs put together so that one of them runs: a chain of ``If``, a branch for each.

A branch of ``If`` has no inputs: it reads what the graph around it computes, here ``x`` and
``w_used``, by name. So all names in a file are distinct, and those in a branch begin with its own.
Initialisers in a branch, and those around it that are no inputs, are constants to it: ONNX Runtime
lays weights out for its convolutions when it opens the file, in branches as well
(https://github.com/microsoft/onnxruntime/pull/5433).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

SHARED = "shared."
"""How the names of weights begin that several branches read."""


def join_branches(
    routing: onnx.ModelProto, branches: Mapping[str, onnx.ModelProto], weights: str
) -> onnx.ModelProto:
    """A graph that routes, and then runs the branch whose prompts weigh most.

    Args:
        routing: its graph has the image and the prompt weights ``w_BSN`` among its tensors.
        branches: name -> graph, in the order of the weights, two or more; its inputs are tensors
            of the routing graph, its one output is the restored image.
        weights: name of ``w_BSN``, of which each branch has as many as the others.

    Returns:
        The routing graph with the output of the branches, under its name in them, as its first. Of
        equal shares the first branch wins, and so it does where all weights are zero.
    """
    from onnx import compose

    (y,) = next(iter(branches.values())).graph.output
    parts: dict[str, onnx.GraphProto] = {}
    for name, model in branches.items():
        assert list(model.opset_import) == list(routing.opset_import), "a file has one opset"
        parts[name] = compose.add_prefix_graph(model.graph, f"{name}.", rename_inputs=False)
        parts[name].name = name
        del parts[name].input[:]
    joined = type(routing)()
    joined.CopyFrom(routing)
    graph = joined.graph
    graph.initializer.extend(_take_shared(list(parts.values())))
    _decide(graph, weights, len(parts))
    chain = _chain(parts, y)
    graph.node.extend(chain.node)
    graph.initializer.extend(chain.initializer)
    outputs = [*chain.output, *graph.output]
    del graph.output[:]
    graph.output.extend(outputs)
    return joined


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and all branches in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from all_graphs(attribute.g)


def _decide(graph: onnx.GraphProto, weights: str, count: int) -> None:
    """Add ``chosen``: which of the branches has the largest sum of weights."""
    from onnx import helper, numpy_helper

    constants = {
        "chosen.shape": np.array([count, -1], np.int64),
        "chosen.axis": np.array([1], np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items())
    graph.node.extend(
        [
            helper.make_node("Reshape", [weights, "chosen.shape"], ["chosen.levels"], "levels"),
            helper.make_node(
                "ReduceSum",
                ["chosen.levels", "chosen.axis"],
                ["chosen.shares"],
                "shares",
                keepdims=0,
            ),
            helper.make_node("ArgMax", ["chosen.shares"], ["chosen"], "chosen", axis=0, keepdims=0),
        ]
    )


def _chain(parts: Mapping[str, onnx.GraphProto], y: onnx.ValueInfoProto) -> onnx.GraphProto:
    """``If`` in the else-branch of ``If``, until the last branch is the only one left.

    Each is beside its own condition: ``onnx.utils.Extractor`` would lose one that is further out.
    """
    from onnx import helper, numpy_helper

    names = list(parts)
    rest = parts[names[-1]]
    for index, name in reversed(list(enumerate(names[:-1]))):
        place = f"not_{names[index - 1]}." if index else ""
        image = type(y)()
        image.CopyFrom(y)
        image.name = place + y.name
        number = numpy_helper.from_array(np.array(index, np.int64), f"number_{name}")
        choice = {"then_branch": parts[name], "else_branch": rest}
        nodes = [
            helper.make_node("Equal", ["chosen", number.name], [f"is_{name}"], f"is_{name}"),
            helper.make_node("If", [f"is_{name}"], [image.name], f"if_{name}", **choice),
        ]
        rest = helper.make_graph(nodes, f"{place}branches", [], [image], [number])
    return rest


def _take_shared(parts: Sequence[onnx.GraphProto]) -> list[onnx.TensorProto]:
    """Take the weights of convolutions that several branches have in common out of them.

    ONNX Runtime computes faster with a branch's own constants than with those around it (6 % of a
    call where the middle is shared, 30 % where all is): it finds no blocked layout for the latter.
    What it folds into constants is the branch's own, so weights are taken out as a row of numbers
    that a Reshape makes them from again.

    Args:
        parts: the branches; they lose those weights, and each makes its own of what is returned.

    Returns:
        One copy of each. What is small stays where it is read.
    """
    from onnx import helper, numpy_helper

    held: dict[tuple[object, ...], list[tuple[onnx.GraphProto, onnx.TensorProto]]] = {}
    for part in parts:
        for tensor in part.initializer:
            if len(tensor.dims) == 4:
                key = (tensor.data_type, *tensor.dims, numpy_helper.to_array(tensor).tobytes())
                held.setdefault(key, []).append((part, tensor))
    shared = []
    for copies in held.values():
        if len(copies) < 2:
            continue
        numbers = numpy_helper.to_array(copies[0][1]).reshape(-1)
        row = numpy_helper.from_array(numbers, SHARED + copies[0][1].name)
        shared.append(row)
        for part, tensor in copies:
            name, dims = tensor.name, list(tensor.dims)
            shape = numpy_helper.from_array(np.array(dims, np.int64), f"{name}.shape")
            node = helper.make_node("Reshape", [row.name, shape.name], [name], f"{name}.made")
            part.value_info.append(helper.make_tensor_value_info(name, tensor.data_type, dims))
            part.node.insert(0, node)
            part.initializer.remove(tensor)
            part.initializer.append(shape)
    return shared
