import numpy as np
import pytest

from cpl_edge.benchmark import roofline
from cpl_edge.benchmark.roofline import PRODUCTS, Product, roofs, write_convolution, write_matmul
from cpl_edge.benchmark.schema import Kernel


@pytest.mark.parametrize("side", [1, 3])
def test_the_fp32_convolution_is_one(tmp_path, side):
    from ai_edge_litert.interpreter import Interpreter

    product = Product("litert", "fp32", 16, 5, 6, side)
    path = tmp_path / "conv.tflite"
    write_convolution(product, path)
    x_BHWC = np.random.default_rng(1).random((1, 4, 4, 5), np.float32)
    y_BHWC = invoke(Interpreter(str(path)), x_BHWC)
    w = roofline._weights((6, side, side, 5), False)
    padded = np.pad(x_BHWC[0], [(side // 2,) * 2, (side // 2,) * 2, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (0, 1))
    np.testing.assert_allclose(
        y_BHWC[0], np.einsum("hwcij,oijc->hwo", windows, w), rtol=1e-4, atol=1e-5
    )


def test_the_int8_convolution_is_one(tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    product = Product("litert", "int8", 16, 64, 8)
    path = tmp_path / "conv.tflite"
    write_convolution(product, path)
    x_BHWC = np.random.default_rng(1).integers(-127, 128, (1, 4, 4, 64), np.int8)
    y_BHWC = invoke(Interpreter(str(path)), x_BHWC)
    w_OI = roofline._weights((8, 1, 1, 64), True)[:, 0, 0].astype(float)
    exact = x_BHWC[0].astype(float) @ w_OI.T / 127**2 / (64**0.5 / 127)
    np.testing.assert_allclose(y_BHWC[0], exact.clip(-128, 127), atol=1)
    assert y_BHWC.dtype == np.int8 and y_BHWC.std() > 5  # not all saturated, not all zero


def invoke(interpreter, x):
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_matmul_is_one(tmp_path, precision):
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    path = tmp_path / "product.onnx"
    write_matmul(Product("onnx", precision, 4, 6, 8), path)
    rng = np.random.default_rng(1)
    x = rng.random((4, 6), np.float32)
    if precision == "int8":
        x = rng.integers(0, 255, (4, 6), np.uint8)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    w = roofline._weights((6, 8), precision == "int8")
    exact = x.astype(float) @ w.astype(float)
    np.testing.assert_allclose(y, exact, rtol=1e-4, atol=1e-4)


def test_what_is_tried_has_names_of_its_own_and_both_runtimes_and_precisions():
    assert len({product.name for product in PRODUCTS}) == len(PRODUCTS)
    assert {(p.runtime, p.precision) for p in PRODUCTS} == {
        (runtime, precision) for runtime in ("litert", "onnx") for precision in ("fp32", "int8")
    }
    assert Product("litert", "fp32", 100, 3, 5, 3).macs == 100 * 3 * 5 * 9


def test_the_fastest_kernel_is_the_roof():
    def kernel(name, precision, threads, gops):
        return Kernel(
            name=name,
            runtime="onnx",
            precision=precision,
            threads=threads,
            macs=1,
            queries=1,
            p50_ms=1.0,
            gops=gops,
        )

    kernels = [
        kernel("a", "fp32", 1, 100.0),
        kernel("b", "fp32", 1, 120.0),
        kernel("c", "int8", 1, 50.0),
        kernel("a", "fp32", 2, 190.0),
    ]
    one, two = roofs(kernels, {1: 10.0})
    assert (one.fp32_gflops, one.fp32_kernel, one.int8_gops, one.copy_gb_s) == (120, "b", 50, 10)
    assert (two.fp32_gflops, two.int8_gops, two.int8_kernel, two.copy_gb_s) == (190, *[None] * 3)
