"""Operators of ML programs in NumPy, each named as in MIL and tested against torch.

Parameters carry MIL's names (``coremltools.converters.mil.mil.ops.defs``), so an operator is called
with what the program gives it. Values are float32, int32 or bool; what MIL has and no function here
takes is refused when a package is opened.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cpl_edge.runtimes import mil_shapes as shapes
from cpl_edge.runtimes.mil_arithmetic import Array, add_up
from cpl_edge.runtimes.mil_convolution import conv, conv_transpose, linear, matmul

_CASTS = {"fp16": "float32", "fp32": "float32", "bool": "bool"}  # the caller rounds to fp16


def cast(x: Array, dtype: str) -> Array:
    """Change the type; towards zero where floats become integers."""
    return x.astype(_CASTS.get(dtype, dtype))


def clip(x: Array, alpha: Array, beta: Array) -> Array:
    """Limit to [alpha, beta]."""
    return np.clip(x, alpha, beta)


def leaky_relu(x: Array, alpha: Array) -> Array:
    """``x`` where it is positive, else ``alpha * x``."""
    return np.asarray(np.where(x >= 0, x, alpha * x))


def prelu(x: Array, alpha: Array) -> Array:
    """Leaky ReLU with a slope for each channel of ``[n, C, ...]``."""
    return leaky_relu(x, alpha.reshape(-1, *[1] * (x.ndim - 2)))


def gelu(x: Array, mode: str = "EXACT") -> Array:
    """``x * Phi(x)``, exact or with the hyperbolic tangent."""
    if mode == "EXACT":
        wide = x.astype(np.float64) / math.sqrt(2)
        phi: Array = 0.5 * (1 + np.vectorize(math.erf, otypes=[np.float64])(wide))
        return (x * phi).astype(x.dtype)
    assert mode == "TANH_APPROXIMATION", f"gelu {mode!r}"
    out: Array = x * np.float32(0.5) * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return out


def sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))`` without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def silu(x: Array) -> Array:
    """``x * sigmoid(x)``."""
    return x * sigmoid(x)


def softmax(x: Array, axis: Array | int = -1, *, half_sums: bool = False) -> Array:
    """Exponentials that sum to 1 along an axis."""
    at = int(axis) % x.ndim
    grown = np.exp(x - x.max(at, keepdims=True))
    out: Array = grown / add_up(grown, (at,), half_sums)
    return out


def rsqrt(x: Array, epsilon: Array | float = 1e-12) -> Array:
    """``1 / sqrt(x + epsilon)``."""
    return 1 / np.sqrt(x + epsilon)


def layer_norm(
    x: Array,
    axes: Array | None = None,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: Array | float = 1e-5,
    *,
    half_sums: bool = False,
) -> Array:
    """Zero mean and unit variance over axes, then ``gamma`` and ``beta``."""
    over = _axes(axes, x)
    count = math.prod(x.shape[axis] for axis in over)
    centred = x - add_up(x, over, half_sums) / count
    out: Array = centred / np.sqrt(add_up(centred * centred, over, half_sums) / count + epsilon)
    shape = [size if axis in over else 1 for axis, size in enumerate(x.shape)]
    out = out if gamma is None else out * gamma.reshape(shape)
    return out if beta is None else out + beta.reshape(shape)


def reduce_sum(
    x: Array, axes: Array | None = None, keep_dims: Array | bool = False, *, half_sums: bool = False
) -> Array:
    """Sum over axes, all of them by default."""
    over = _axes(axes, x)
    return _kept(add_up(x, over, half_sums), over, keep_dims)


def reduce_mean(
    x: Array, axes: Array | None = None, keep_dims: Array | bool = False, *, half_sums: bool = False
) -> Array:
    """Mean over axes, all of them by default."""
    over = _axes(axes, x)
    count = math.prod(x.shape[axis] for axis in over)
    return _kept(add_up(x, over, half_sums) / np.float32(count), over, keep_dims)


def reduce_max(x: Array, axes: Array | None = None, keep_dims: Array | bool = False) -> Array:
    """Largest value over axes, all of them by default."""
    over = _axes(axes, x)
    return _kept(x.max(over, keepdims=True), over, keep_dims)


def reduce_min(x: Array, axes: Array | None = None, keep_dims: Array | bool = False) -> Array:
    """Smallest value over axes, all of them by default."""
    over = _axes(axes, x)
    return _kept(x.min(over, keepdims=True), over, keep_dims)


def select(cond: Array, a: Array, b: Array) -> Array:
    """``a`` where the condition holds, else ``b``."""
    return np.where(cond, a, b)


def quantize(
    input: Array,
    scale: Array,
    output_dtype: str,
    zero_point: Array | None = None,
    axis: Array | None = None,
) -> Array:
    """Integers ``round(x / scale) + zero_point`` that saturate."""
    step, zero = _along(scale, input, axis), _along(zero_point, input, axis)
    limits = np.iinfo(output_dtype)
    steps = np.round(input / step) + zero
    return np.clip(steps, limits.min, limits.max).astype(output_dtype)


def dequantize(
    input: Array, scale: Array, zero_point: Array | None = None, axis: Array | None = None
) -> Array:
    """``(q - zero_point) * scale``."""
    step, zero = _along(scale, input, axis), _along(zero_point, input, axis)
    return (input.astype(np.float32) - zero) * step


def _along(values: Array | None, x: Array, axis: Array | None) -> Array:
    if values is None:
        return np.zeros((), np.float32)
    shape = [1] * x.ndim
    if values.size > 1:
        assert axis is not None, "a scale for each channel needs its axis"
        shape[int(axis)] = -1
    return values.astype(np.float32).reshape(shape)


def _axes(axes: Array | None, x: Array) -> tuple[int, ...]:
    """Axes counted from the front, all of them by default."""
    return tuple(range(x.ndim)) if axes is None else tuple(int(axis) % x.ndim for axis in axes)


def _kept(reduced: Array, axes: tuple[int, ...], keep_dims: Array | bool) -> Array:
    return reduced if keep_dims else np.squeeze(reduced, axes)


Operator = Callable[..., Array | list[Array]]

_NAMED: tuple[Operator, ...] = (
    cast, clip, conv, conv_transpose, dequantize, gelu, layer_norm, leaky_relu, linear, matmul,
    prelu, quantize, reduce_max, reduce_mean, reduce_min, reduce_sum, rsqrt, select, sigmoid, silu,
    softmax,
    shapes.concat, shapes.expand_dims, shapes.pad, shapes.pixel_shuffle, shapes.pixel_unshuffle,
    shapes.reshape, shapes.slice_by_index, shapes.slice_by_size, shapes.split, shapes.squeeze,
    shapes.transpose, shapes.upsample_nearest_neighbor,
)  # fmt: skip
_ELEMENTWISE: dict[str, Operator] = {
    "abs": lambda x: np.abs(x),
    "add": lambda x, y: x + y,
    "exp": lambda x: np.exp(x),
    "greater": lambda x, y: x > y,
    "greater_equal": lambda x, y: x >= y,
    "identity": lambda x: x,
    "less": lambda x, y: x < y,
    "less_equal": lambda x, y: x <= y,
    "maximum": lambda x, y: np.maximum(x, y),
    "minimum": lambda x, y: np.minimum(x, y),
    "mul": lambda x, y: x * y,
    "pow": lambda x, y: np.power(x, y),
    "real_div": lambda x, y: x / y,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sqrt": lambda x: np.sqrt(x),
    "square": lambda x: x * x,
    "sub": lambda x, y: x - y,
    "tanh": lambda x: np.tanh(x),
}

OPERATORS: dict[str, Operator] = {
    **{function.__name__: function for function in _NAMED},
    **_ELEMENTWISE,
}
"""Operator -> what computes it, called with MIL's parameters by name."""
