"""One toy model in every format: small enough to be made in no time, odd enough to catch mix-ups.

    forward(x)    = x * (1, 1/2, 1/4) of the channels
    route(x)      = mean(x) * W, mean(x) * A + B
    restore(x, w) = x + sum(w * V)

Where each degradation has its own, the second one's restore is x + 2 sum(w * V), and so on.

Height and width differ, and the files name and order inputs and outputs against the protocol.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from cpl_edge.runtimes.info import KEY, ModelInfo

C = np.array([1, 0.5, 0.25], np.float32)
W = np.array([1, 2, 3, 4], np.float32)
A = np.array([0, 1, 0, 0, 0, 0], np.float32)  # "rain" wins in photos brighter than one half
B = np.array([0.5, 0, 0, 0, 0, 0], np.float32)
V = np.array([0, 0, 0.25, 0.25], np.float32)

INFO = ModelInfo(
    student="toy", target="litert", precision="fp32", routing="auto", pinned=None, height=16,
    width=12, layout="NCHW", halo=2, multiple=2, degradations=("noise", "rain"), levels=2, sites=1,
    entry_points=("forward", "route", "restore"), digest="0" * 64, versions={"numpy": "2"},
)  # fmt: skip


def restorers(info):
    """The functions that serve ``restore``."""
    return [name for name, entry in info.functions.items() if entry == "restore"]


def expected(name, x_BCHW, w_BSN=None):
    if name == "forward":
        return (x_BCHW * C[:, None, None],)
    if name == "route":
        mean = x_BCHW.mean(dtype=np.float32)
        return (mean * W)[None, None], (mean * A + B)[None, None]
    return (x_BCHW + (w_BSN * V).sum(dtype=np.float32),)


def write(path, text=None, **changes):
    """Write the toy in the format of the suffix; text replaces its description ('' omits it)."""
    layout = "NHWC" if path.suffix == ".tflite" else "NCHW"
    info = replace(INFO, **{"layout": layout, **changes})
    writers = {".tflite": write_tflite, ".onnx": write_onnx, ".pte": write_pte}
    writers[path.suffix](Path(path), info, info.to_json() if text is None else text)
    return path


def write_tflite(path, info, text):
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    names = ["MUL", "ADD", "MEAN", "SUM", "RESHAPE"]
    model = schema.ModelT()
    model.version, model.description = 3, "toy"
    model.buffers = [schema.BufferT()]
    model.operatorCodes, model.subgraphs, model.signatureDefs = [], [], []
    for name in names:
        code = schema.OperatorCodeT()
        number = getattr(schema.BuiltinOperator, name)
        code.builtinCode = code.deprecatedBuiltinCode = number
        code.version = 1
        model.operatorCodes.append(code)

    def buffer(raw):
        entry = schema.BufferT()
        entry.data = np.frombuffer(raw, np.uint8)
        model.buffers.append(entry)
        return len(model.buffers) - 1

    class Graph:
        def __init__(self, name):
            self.graph = graph = schema.SubGraphT()
            graph.name, graph.tensors, graph.operators = name, [], []
            graph.inputs, graph.outputs = [], []

        def tensor(self, name, shape, value=None):
            t = schema.TensorT()
            t.name, t.shape = name, list(shape)
            t.buffer = 0 if value is None else buffer(value.tobytes())
            integer = value is not None and value.dtype == np.int32
            t.type = schema.TensorType.INT32 if integer else schema.TensorType.FLOAT32
            self.graph.tensors.append(t)
            return len(self.graph.tensors) - 1

        def constant(self, value):
            return self.tensor(f"constant{len(self.graph.tensors)}", value.shape, value)

        def apply(self, name, inputs, shape, options=None):
            op = schema.OperatorT()
            op.opcodeIndex, op.inputs = names.index(name), inputs
            op.outputs = [self.tensor(f"{name}{len(self.graph.tensors)}", shape)]
            kind = {"MUL": "Mul", "ADD": "Add", "RESHAPE": "Reshape"}.get(
                name, "Reducer"
            ) + "Options"
            op.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            op.builtinOptions = getattr(schema, f"{kind}T")()
            for key, value in (options or {}).items():
                setattr(op.builtinOptions, key, value)
            self.graph.operators.append(op)
            return op.outputs[0]

        def finish(self, inputs, outputs):
            graph = self.graph
            graph.inputs, graph.outputs = [i for _, i in inputs], [i for _, i in outputs]
            signature = schema.SignatureDefT()
            signature.signatureKey = (
                graph.name.decode() if isinstance(graph.name, bytes) else graph.name
            )
            signature.subgraphIndex = len(model.subgraphs)
            signature.inputs, signature.outputs = [], []
            for pairs, entries in ((inputs, signature.inputs), (outputs, signature.outputs)):
                for name, index in pairs:
                    entry = schema.TensorMapT()
                    entry.name, entry.tensorIndex = name, index
                    entries.append(entry)
            model.subgraphs.append(graph)
            model.signatureDefs.append(signature)

    image = (1, info.height, info.width, 3)
    if "forward" in info.entry_points:
        g = Graph("forward")
        x = g.tensor("x", image)
        g.finish([("args_0", x)], [("output_0", g.apply("MUL", [x, g.constant(C)], image))])
    if "route" in info.entry_points:
        g = Graph("route")
        x = g.tensor("x", image)
        axes = g.constant(np.array([1, 2, 3], np.int32))
        mean = g.apply("MEAN", [x, axes], (1, 1, 1, 1), {"keepDims": True})
        shape = g.constant(np.array([1, 1, 1], np.int32))
        mean = g.apply("RESHAPE", [mean, shape], (1, 1, 1), {"newShape": [1, 1, 1]})
        w = g.apply("MUL", [mean, g.constant(W[None, None])], (1, 1, 4))
        scaled = g.apply("MUL", [mean, g.constant(A[None, None])], (1, 1, 6))
        logits = g.apply("ADD", [scaled, g.constant(B[None, None])], (1, 1, 6))
        g.finish([("args_0", x)], [("a_logits", logits), ("z_w", w)])
    for number, name in enumerate(restorers(info), 1):
        g = Graph(name)
        w, x = g.tensor("w", (1, 1, 4)), g.tensor("x", image)
        weighted = g.apply("MUL", [w, g.constant(number * V[None, None])], (1, 1, 4))
        axes = g.constant(np.array([2], np.int32))
        total = g.apply("SUM", [weighted, axes], (1, 1, 1), {"keepDims": True})
        shape = g.constant(np.array([1, 1, 1, 1], np.int32))
        total = g.apply("RESHAPE", [total, shape], (1, 1, 1, 1), {"newShape": [1, 1, 1, 1]})
        y = g.apply("ADD", [x, total], image)
        g.finish([("a_w", w), ("z_x", x)], [("output_0", y)])
    model.metadata = []
    for key, value in (("min_runtime_version", "1.5.0"), (KEY, text)):
        entry = schema.MetadataT()
        entry.name, entry.buffer = key, buffer(value.encode())
        if value:
            model.metadata.append(entry)
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())


def write_onnx(path, info, text):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def value(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    constants = {
        "C": C[:, None, None], "W": W, "A": A, "B": B, "V": V,
        "axis": np.array([2], np.int64), "axes": np.array([1, 2, 3], np.int64),
        "own": np.array([1, 1, 1], np.int64), "image": np.array([1, 1, 1, 1], np.int64),
        "given": np.full((1, 1, 4), -1, np.float32),  # the default: nothing was given
        "zero": np.zeros((), np.float32),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("ReduceMean", ["x", "axes"], ["mean"], keepdims=1),
        node("Reshape", ["mean", "own"], ["mean3"]),
        node("Mul", ["mean3", "W"], ["w"]),
        node("Mul", ["mean3", "A"], ["scaled"]),
        node("Add", ["scaled", "B"], ["logits"]),
        node("Mul", ["given", "V"], ["weighted"]),
        node("ReduceSum", ["weighted", "axis"], ["total"], keepdims=1),
        node("Reshape", ["total", "image"], ["total4"]),
        node("Add", ["x", "total4"], ["told"]),
        node("Mul", ["x", "C"], ["untold"]),
        node("Less", ["total4", "zero"], ["is_default"]),
        node("Where", ["is_default", "untold", "told"], ["y"]),
    ]
    image = (1, 3, info.height, info.width)
    outputs = [value("logits", 1, 1, 6), value("y", *image), value("w", 1, 1, 4)]
    initializers = [numpy_helper.from_array(v, name) for name, v in constants.items()]
    inputs = [value("given", 1, 1, 4), value("x", *image)]
    if info.entry_points == ("forward",):
        inputs, outputs = inputs[1:], outputs[1:2]
    graph = helper.make_graph(nodes, "toy", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if text:
        model.metadata_props.add(key=KEY, value=text)
    onnx.save(model, path)


def write_pte(path, info, text):
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    c, w, a, b, v = (torch.tensor(value.tolist()) for value in (C[:, None, None], W, A, B, V))

    class Forward(torch.nn.Module):
        def forward(self, x):
            return x * c

    class Route(torch.nn.Module):
        def forward(self, x):
            mean = x.mean((1, 2, 3), keepdim=True).reshape(1, 1, 1)
            return mean * w, mean * a + b

    class Restore(torch.nn.Module):
        def __init__(self, number):
            super().__init__()
            self.number = number

        def forward(self, x, weights):
            return x + self.number * (weights * v).sum(2, keepdim=True).reshape(1, 1, 1, 1)

    x = torch.rand(1, 3, info.height, info.width)
    entries = {
        "forward": (Forward(), (x,)),
        "route": (Route(), (x,)),
    } | {
        name: (Restore(number), (x, torch.rand(1, 1, 4)))
        for number, name in enumerate(restorers(info), 1)
    }
    methods = {name: torch.export.export(*entries[name]) for name in info.functions}
    program = to_edge_transform_and_lower(
        methods,
        partitioner=[XnnpackPartitioner()],
        constant_methods={KEY: text} if text else None,
    ).to_executorch()
    path.write_bytes(program.buffer)
