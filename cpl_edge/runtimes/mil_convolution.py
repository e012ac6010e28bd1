"""Convolutions of ML programs as matrix products; any number of spatial dimensions.

Parameters are named and ordered as in MIL (``coremltools.converters.mil.mil.ops.defs``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from cpl_edge.runtimes.mil_arithmetic import Array, dot


def conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    dilations: Array | None = None,
    groups: Array | int = 1,
    *,
    half_sums: bool = False,
) -> Array:
    """Convolution of ``[n, C_in, *D]`` with ``[C_out, C_in / groups, *K]``."""
    kernel = weight.shape[2:]
    stride, dilation = _each(strides, kernel), _each(dilations, kernel)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    pads = _pads(pad_type, pad, x.shape[2:], reach, stride)
    padded = np.pad(x, [(0, 0), (0, 0), *pads]) if any(map(any, pads)) else x
    spatial = tuple(range(2, x.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, spatial)
    windows = windows[_at(slice(None, None, step) for step in (*stride, *dilation))]
    size = windows.shape[2 : x.ndim]
    g = int(groups)
    taps = weight.reshape(g, weight.shape[0] // g, -1)
    order = (0, 1, *range(x.ndim, windows.ndim), *spatial)  # n, C_in, taps, places
    columns = windows.transpose(order).reshape(len(x), g, taps.shape[2], -1)
    out = dot(taps, columns, half_sums).reshape(len(x), weight.shape[0], *size)
    return _biased(out, bias)


def conv_transpose(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    pad: Array | None = None,
    output_shape: Array | None = None,
    pad_type: str = "valid",
    strides: Array | None = None,
    dilations: Array | None = None,
    groups: Array | int = 1,
    *,
    half_sums: bool = False,
) -> Array:
    """Transposed convolution of ``[n, C_in, *D]`` with ``[C_in, C_out / groups, *K]``.

    Sums in fp16 are rounded after each channel of a tap and after each tap.
    """
    kernel, g = weight.shape[2:], int(groups)
    stride, dilation = _each(strides, kernel), _each(dilations, kernel)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    full = [(n - 1) * s + r for n, s, r in zip(x.shape[2:], stride, reach, strict=True)]
    if output_shape is not None:
        size = [int(n) for n in output_shape[2:]]
    elif pad_type == "same":
        size = [n * s for n, s in zip(x.shape[2:], stride, strict=True)]
    else:
        custom = _pads(pad_type, pad, x.shape[2:], reach, stride)
        size = [n - sum(ends) for n, ends in zip(full, custom, strict=True)]
    if pad_type == "custom":
        before = [int(n) for n in (pad if pad is not None else [0] * 2 * len(kernel))[::2]]
    else:
        before = [max(0, f - n) // 2 for f, n in zip(full, size, strict=True)]
    room = [max(f, b + n) for f, b, n in zip(full, before, size, strict=True)]
    channels = weight.shape[1]
    out = np.zeros((len(x), g, channels, *room), np.float32)
    given = x.reshape(len(x), g, x.shape[1] // g, -1)
    for tap in np.ndindex(*kernel):
        taps = weight[(slice(None), slice(None), *tap)].reshape(g, -1, channels)
        product = dot(taps.transpose(0, 2, 1), given, half_sums)
        at = _at(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilation, x.shape[2:], stride, strict=True)
        )
        product = product.reshape(len(x), g, channels, *x.shape[2:])
        # The tap before met other pixels, so a sum of fp16 needs its rounding here.
        total = out[at] + product
        out[at] = total.astype(np.float16) if half_sums else total
    inside = _at(slice(b, b + n) for b, n in zip(before, size, strict=True))
    return _biased(out.reshape(len(x), g * channels, *room)[inside], bias)


def linear(x: Array, weight: Array, bias: Array | None = None, *, half_sums: bool = False) -> Array:
    """``x @ weight.T + bias`` along the last axis."""
    rows = dot(x.reshape(-1, x.shape[-1]), weight.T, half_sums)
    out = rows.reshape(*x.shape[:-1], weight.shape[0])
    return out if bias is None else out + bias


def matmul(
    x: Array,
    y: Array,
    transpose_x: Array | bool = False,
    transpose_y: Array | bool = False,
    *,
    half_sums: bool = False,
) -> Array:
    """Product of matrices or of stacks of them."""
    left = np.swapaxes(x, -1, -2) if transpose_x else x
    right = np.swapaxes(y, -1, -2) if transpose_y else y
    return dot(left, right, half_sums)


def _at(places: Iterable[slice]) -> Any:
    """An index of the last dimensions."""
    return (..., *places)


def _each(values: Array | None, kernel: tuple[int, ...]) -> list[int]:
    return [1] * len(kernel) if values is None else [int(value) for value in values]


def _pads(
    pad_type: str, pad: Array | None, size: tuple[int, ...], reach: list[int], stride: list[int]
) -> list[tuple[int, int]]:
    """Rows and columns to add before and after each spatial dimension."""
    if pad_type == "valid":
        return [(0, 0)] * len(size)
    if pad_type == "custom":
        flat = [0] * 2 * len(size) if pad is None else [int(n) for n in pad]
        return list(zip(flat[::2], flat[1::2], strict=True))
    assert pad_type in ("same", "same_lower"), f"padding {pad_type!r}"
    pads = []
    for n, r, s in zip(size, reach, stride, strict=True):
        total = max(0, (math.ceil(n / s) - 1) * s + r - n)
        less, more = total // 2, total - total // 2
        pads.append((less, more) if pad_type == "same" else (more, less))
    return pads


def _biased(out: Array, bias: Array | None) -> Array:
    return out if bias is None else out + bias.reshape(-1, *[1] * (out.ndim - 2))
