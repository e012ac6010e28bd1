"""Operators of ML programs that move values and compute none, each named as in MIL."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cpl_edge.runtimes.mil_arithmetic import Array


def reshape(x: Array, shape: Array) -> Array:
    """Another shape of the same values; 0 keeps a dimension, -1 is the rest."""
    return x.reshape([x.shape[i] if n == 0 else int(n) for i, n in enumerate(shape)])


def transpose(x: Array, perm: Array) -> Array:
    """Another order of the axes."""
    return x.transpose([int(axis) for axis in perm])


def expand_dims(x: Array, axes: Array) -> Array:
    """New axes of length 1, at places of the result."""
    return np.expand_dims(x, tuple(int(axis) for axis in axes))


def squeeze(x: Array, axes: Array | None = None) -> Array:
    """Without axes of length 1."""
    return np.squeeze(x, None if axes is None else tuple(int(axis) for axis in axes))


def concat(values: Sequence[Array], axis: Array | int, interleave: Array | bool = False) -> Array:
    """One after another along an axis, or their slices in turn."""
    if not interleave:
        return np.concatenate(values, int(axis))
    at = int(axis) % values[0].ndim
    stacked = np.stack(values, at + 1)
    return stacked.reshape(*stacked.shape[:at], -1, *stacked.shape[at + 2 :])


def split(
    x: Array, axis: Array | int, num_splits: Array | None = None, split_sizes: Array | None = None
) -> list[Array]:
    """Pieces along an axis, of equal or of given sizes."""
    if split_sizes is None:
        assert num_splits is not None, "a split needs a number or sizes"
        return np.split(x, int(num_splits), int(axis))
    return np.split(x, np.cumsum(split_sizes)[:-1], int(axis))


def slice_by_index(
    x: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    """``x[begin:end:stride]``; a mask means from the start, to the end, or this index alone."""

    def bounds(i: int) -> slice | int:
        if squeeze_mask is not None and squeeze_mask[i]:
            return int(begin[i])
        first = None if begin_mask is not None and begin_mask[i] else int(begin[i])
        last = None if end_mask is not None and end_mask[i] else int(end[i])
        return slice(first, last, 1 if stride is None else int(stride[i]))

    return np.asarray(x[tuple(bounds(i) for i in range(x.ndim))])


def slice_by_size(x: Array, begin: Array, size: Array) -> Array:
    """A block of a size; -1 is the rest."""
    parts = [
        slice(int(b), x.shape[i] if n == -1 else int(b + n))
        for i, (b, n) in enumerate(zip(begin, size, strict=True))
    ]
    return np.asarray(x[tuple(parts)])


def pad(x: Array, pad: Array, mode: str = "constant", constant_val: Array | float = 0.0) -> Array:
    """Rows before and after the last dimensions: constant, reflect or replicate."""
    flat = [int(n) for n in pad]
    pads = [(0, 0)] * (x.ndim - len(flat) // 2) + list(zip(flat[::2], flat[1::2], strict=True))
    if mode == "constant":
        return np.pad(x, pads, constant_values=x.dtype.type(constant_val))
    return np.pad(x, pads, "reflect") if mode == "reflect" else np.pad(x, pads, "edge")


def pixel_shuffle(x: Array, upscale_factor: Array | int) -> Array:
    """``[n, C r r, H, W]`` to ``[n, C, H r, W r]``, as torch does."""
    n, channels, height, width = x.shape
    r = int(upscale_factor)
    split_up = x.reshape(n, channels // r**2, r, r, height, width)
    return split_up.transpose(0, 1, 4, 2, 5, 3).reshape(n, -1, height * r, width * r)


def pixel_unshuffle(x: Array, downscale_factor: Array | int) -> Array:
    """``[n, C, H r, W r]`` to ``[n, C r r, H, W]``, as torch does."""
    n, channels, height, width = x.shape
    r = int(downscale_factor)
    split_up = x.reshape(n, channels, height // r, r, width // r, r)
    return split_up.transpose(0, 1, 3, 5, 2, 4).reshape(n, -1, height // r, width // r)


def upsample_nearest_neighbor(
    x: Array, scale_factor_height: Array | float = 1.0, scale_factor_width: Array | float = 1.0
) -> Array:
    """Repeat rows and columns a whole number of times."""
    factors = float(scale_factor_height), float(scale_factor_width)
    assert all(factor.is_integer() for factor in factors), f"upsampling by {factors}"
    return x.repeat(int(factors[0]), -2).repeat(int(factors[1]), -1)
