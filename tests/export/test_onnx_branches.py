"""A chain of If, made of graphs that tell by their numbers which one ran."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from cpl_edge.export.onnx_branches import SHARED, all_graphs, join_branches

X = np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4)
KERNEL = np.arange(9, dtype=np.float32).reshape(3, 3, 1, 1)


def value(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def model_of(nodes, inputs, outputs, **constants):
    initializers = [numpy_helper.from_array(v, name) for name, v in constants.items()]
    graph = helper.make_graph(nodes, "toy", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def branch(factor, kernel=KERNEL, fails=False):
    """``y = factor * conv(x, kernel) + sum(w)``, or a graph that cannot run."""
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["mixed"], "mix"),
        helper.make_node("Mul", ["mixed", "factor"], ["scaled"], "scale"),
        helper.make_node("ReduceSum", ["w"], ["total"], "sum", keepdims=0),
        helper.make_node("Add", ["scaled", "total"], ["y"], "add"),
    ]
    if fails:  # it picks an image that is not there
        nodes[1:2] = [
            helper.make_node("ReduceMax", ["mixed"], ["most"], "most", keepdims=0),
            helper.make_node("Cast", ["most"], ["index"], "cast", to=TensorProto.INT64),
            helper.make_node("Gather", ["mixed", "index"], ["picked"], "pick", axis=0),
            helper.make_node("ReduceMax", ["picked"], ["one"], "one", keepdims=0),
            helper.make_node("Mul", ["mixed", "one"], ["scaled"], "scale"),
        ]
    return model_of(
        nodes, [value("x", *X.shape), value("w", 1, 1, 6)], [value("y", *X.shape)],
        kernel=kernel, factor=np.array(factor, np.float32),
    )  # fmt: skip


def routing():
    nodes = [helper.make_node("Add", ["w", "w"], ["twice"], "double")]
    inputs = [value("x", *X.shape), value("w", 1, 1, 6)]
    return model_of(nodes, inputs, [value("twice", 1, 1, 6)])


def joined(**branches):
    model = join_branches(routing(), branches, "w")
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model, *weights):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    w = np.array(weights, np.float32).reshape(1, 1, 6)
    return session.run(None, {"x": X, "w": w})


def expected(factor, *weights, kernel=KERNEL):
    mixed = np.einsum("oc,bchw->bohw", kernel[:, :, 0, 0], X)
    return factor * mixed + np.float32(sum(weights))


CASES = [
    ((1, 0, 0, 0, 0, 0), 1),
    ((0, 0, 0, 1, 0, 0), 2),
    ((0, 0, 0, 0, 0, 1), 3),
    ((0.5, 0, 0.3, 0.3, 0, 0), 2),  # its weights together
    ((0, 0, 0.25, 0.25, 0.5, 0), 2),  # of equals the first
    ((0, 0, 0, 0, 0, 0), 1),
]


@pytest.mark.parametrize(("weights", "factor"), CASES, ids=str)
@pytest.mark.parametrize("same", [True, False])
def test_the_branch_that_weighs_most_gives_the_output(weights, factor, same):
    kernels = [KERNEL if same else KERNEL + i for i in range(3)]
    model = joined(**{f"b{i}": branch(i + 1, kernels[i]) for i in range(3)})
    y, twice = run(model, *weights)
    np.testing.assert_allclose(y, expected(factor, *weights, kernel=kernels[factor - 1]))
    np.testing.assert_allclose(twice, 2 * np.array(weights).reshape(1, 1, 6))
    assert [output.name for output in model.graph.output] == ["y", "twice"]


def test_the_other_branches_do_not_run():
    model = joined(a=branch(1), b=branch(2, fails=True), c=branch(3, fails=True))
    np.testing.assert_allclose(run(model, 1, 0, 0, 0, 0, 0)[0], expected(1, 1))
    for weights in ((0, 0, 1, 0, 0, 0), (0, 0, 0, 0, 1, 0)):
        with pytest.raises(Exception, match="Gather"):
            run(model, *weights)


def test_no_name_is_used_twice():
    model = joined(a=branch(1), b=branch(2, KERNEL + 1), c=branch(3, KERNEL + 1))
    graphs = list(all_graphs(model.graph))
    assert len(graphs) == 5  # the whole, three branches, and what is not the first one
    nodes = [node for graph in graphs for node in graph.node]
    made = [name for node in nodes for name in node.output]
    made += [tensor.name for graph in graphs for tensor in graph.initializer]
    assert len(made) == len(set(made))
    assert len({node.name for node in nodes}) == len(nodes)


def test_equal_weights_are_stored_once_and_others_stay_in_their_branch():
    model = joined(a=branch(1), b=branch(2, KERNEL + 1), c=branch(3, KERNEL.copy()))
    around, *inside = [
        {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for graph in all_graphs(model.graph)
    ]
    shared = {name: array for name, array in around.items() if name.startswith(SHARED)}
    assert list(shared) == ["shared.a.kernel"]
    np.testing.assert_array_equal(shared["shared.a.kernel"], KERNEL.ravel())
    kernels = [name for part in inside for name, array in part.items() if array.ndim == 4]
    assert kernels == ["b.kernel"]


def test_weights_that_are_not_stored_as_bytes_are_compared_too():
    models = [branch(1), branch(2, KERNEL + 1)]
    for model in models:
        (kernel,) = (t for t in model.graph.initializer if t.name == "kernel")
        plain = helper.make_tensor(
            "kernel", TensorProto.FLOAT, kernel.dims, numpy_helper.to_array(kernel).ravel()
        )
        kernel.CopyFrom(plain)
        assert not kernel.raw_data
    y, _ = run(joined(a=models[0], b=models[1]), 0, 0, 0, 1, 0, 0)
    np.testing.assert_allclose(y, expected(2, 1, kernel=KERNEL + 1))


def test_what_is_joined_is_not_changed():
    given, part = routing(), branch(1)
    before = given.SerializeToString(), part.SerializeToString()
    join_branches(given, {"a": part, "b": branch(2)}, "w")
    assert (given.SerializeToString(), part.SerializeToString()) == before
