"""The machine's ceilings: matrix products as the runtimes themselves compute them, and copying.

A "peak" here is what a well-known kernel reaches, not a figure of a data sheet: XNNPACK's
convolutions through LiteRT and MLAS's products through ONNX Runtime, fp32 and int8, in models of
one operator. They run in the same rounds as the builds, so a machine that slows down slows both,
and a share compares medians with medians. The fastest of them is the roof (Williams et al.,
"Roofline", CACM 2009).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cpl_edge.benchmark.schema import Kernel, Roof
from cpl_edge.errors import MissingExtra, require

if TYPE_CHECKING:
    import numpy.typing as npt

Precision = Literal["fp32", "int8"]


@dataclass(frozen=True)
class Product:
    """One operator to time.

    Attributes:
        runtime: ``litert`` (a convolution) or ``onnx`` (a product of matrices).
        precision: of its operands; int8 accumulates in int32.
        pixels: rows of the left matrix; a convolution has a square of so many pixels.
        inner: channels in.
        outer: channels out.
        side: of the convolution's kernel.
    """

    runtime: Literal["litert", "onnx"]
    precision: Precision
    pixels: int
    inner: int
    outer: int
    side: int = 1

    @property
    def name(self) -> str:
        """Runtime, operator, shape and precision."""
        operator = f"conv {self.side}x{self.side}" if self.runtime == "litert" else "matmul"
        return f"{self.runtime} {operator} {self.pixels}x{self.inner}x{self.outer} {self.precision}"

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.pixels * self.inner * self.outer * self.side**2


PRODUCTS = tuple(
    product
    for precision in ("fp32", "int8")
    for product in (
        Product("litert", precision, 32 * 32, 512, 512),
        Product("litert", precision, 64 * 64, 128, 128, side=3),
        Product("onnx", precision, 1024, 1024, 1024),
    )
)
"""What is tried; the third shape of each is the usual square product."""


def write_products(folder: Path) -> dict[str, tuple[Product, Path]]:
    """Write the models of :data:`PRODUCTS` that can run here.

    Args:
        folder: where to.

    Returns:
        Name -> product and its file; without ONNX's, where its packages are not installed.
    """
    written = {}
    for index, product in enumerate(PRODUCTS):
        path = folder / f"{index}.{'tflite' if product.runtime == 'litert' else 'onnx'}"
        try:
            (write_convolution if product.runtime == "litert" else write_matmul)(product, path)
        except MissingExtra:
            continue
        written[product.name] = (product, path)
    return written


def roofs(kernels: Iterable[Kernel], copies: dict[int, float]) -> tuple[Roof, ...]:
    """The fastest kernel of each precision at each number of threads.

    Args:
        kernels: all that were timed.
        copies: threads -> 10^9 bytes a second of copying.
    """
    kernels = list(kernels)
    made = []
    for threads in sorted({*copies, *(kernel.threads for kernel in kernels)}):
        best: dict[str, Kernel] = {}
        for kernel in sorted(kernels, key=lambda kernel: kernel.gops):
            if kernel.threads == threads:
                best[kernel.precision] = kernel
        fp32, int8 = best.get("fp32"), best.get("int8")
        made.append(
            Roof(
                threads=threads,
                fp32_gflops=fp32.gops if fp32 else None,
                fp32_kernel=fp32.name if fp32 else None,
                int8_gops=int8.gops if int8 else None,
                int8_kernel=int8.name if int8 else None,
                copy_gb_s=copies.get(threads),
            )
        )
    return tuple(made)


def write_matmul(product: Product, path: Path) -> None:
    """Write an ONNX model of one product with a constant right matrix."""
    onnx = require("onnx", extra="onnx")
    from onnx import TensorProto, helper, numpy_helper

    is_int8 = product.precision == "int8"
    weight = _weights((product.inner, product.outer), is_int8)
    node = helper.make_node("MatMulInteger" if is_int8 else "MatMul", ["x", "w"], ["y"])
    in_type = TensorProto.UINT8 if is_int8 else TensorProto.FLOAT
    out_type = TensorProto.INT32 if is_int8 else TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", in_type, (product.pixels, product.inner))],
        [helper.make_tensor_value_info("y", out_type, (product.pixels, product.outer))],
        [numpy_helper.from_array(weight, "w")],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))


def write_convolution(product: Product, path: Path) -> None:
    """Write a TFLite model of one convolution: int8 by channel, as quantised builds have it."""
    import flatbuffers  # type: ignore[import-untyped]
    from ai_edge_litert import schema_py_generated as schema

    is_int8 = product.precision == "int8"
    height = round(product.pixels**0.5)
    sizes = {
        "x": (1, height, height, product.inner),
        "w": (product.outer, product.side, product.side, product.inner),
        "b": (product.outer,),
        "y": (1, height, height, product.outer),
    }
    constants: dict[str, npt.NDArray[Any]] = {
        "w": _weights(sizes["w"], is_int8),
        "b": np.zeros(product.outer, np.int32 if is_int8 else np.float32),
    }
    steps = {"x": [1 / 127], "w": [1 / 127] * product.outer, "y": [product.inner**0.5 / 127]}
    steps["b"] = [1 / 127**2] * product.outer
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers = 3, [schema.BufferT()]
    graph.tensors, graph.inputs, graph.outputs = [], [0], [3]
    for name, size in sizes.items():
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name, list(size)
        tensor.type = schema.TensorType.FLOAT32
        if is_int8:
            kind = "INT32" if name == "b" else "INT8"
            tensor.type = getattr(schema.TensorType, kind)
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = steps[name]
            tensor.quantization.zeroPoint = [0] * len(steps[name])
        if name in constants:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(constants[name].tobytes(), np.uint8)
            model.buffers.append(buffer)
            tensor.buffer = len(model.buffers) - 1
        graph.tensors.append(tensor)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    code.version = 3 if is_int8 else 1
    operator, options = schema.OperatorT(), schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    options.padding = schema.Padding.SAME
    operator.inputs, operator.outputs = [0, 1, 2], [3]
    operator.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
    operator.builtinOptions = options
    graph.operators = [operator]
    model.operatorCodes, model.subgraphs = [code], [graph]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())


def _weights(shape: tuple[int, ...], is_int8: bool) -> npt.NDArray[Any]:
    rng = np.random.default_rng(0)
    if is_int8:
        return rng.integers(-127, 127, shape, np.int8, endpoint=True)
    return rng.standard_normal(shape, np.float32)
