"""Constants of a saved ML program: blob storage, packed bits, and what decompresses to weights.

The layout of ``weight.bin`` is that of ``MILBlob`` in coremltools (``StorageFormat.hpp``,
``BlobDataType.hpp``): a header of 64 bytes (count, version 2), then for each constant 64 bytes of
metadata (sentinel, type, size in bytes, offset of the data, unused bits at the end) and its data.

Compressed constants are those of coremltools' operators ``constexpr_*``, in the forms of iOS 16
(flat, packed indices) and of iOS 18 (blocks, with types of 1 to 6 bits).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_SENTINEL = 0xDEADBEEF
_METADATA = struct.Struct("<IIQQQ")  # sentinel, type, bytes, offset, unused bits

DTYPES: dict[str, str] = {
    "BOOL": "bool", "FLOAT16": "float16", "FLOAT32": "float32", "FLOAT64": "float64",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
}  # fmt: skip
"""Types of MIL that NumPy has, by their names in MIL.proto."""

PACKED = {"UINT1": 1, "UINT2": 2, "UINT3": 3, "UINT4": 4, "UINT6": 6, "INT4": 4}
"""Types of MIL that are packed into bytes, with their bits."""


def read_blob(storage: bytes, offset: int) -> bytes:
    """The data of one constant.

    Args:
        storage: all of ``weight.bin``.
        offset: of its metadata, as the program says.

    Raises:
        ValueError: there is no constant at that place.
    """
    if offset < 0 or offset + _METADATA.size > len(storage):
        raise ValueError(f"weight.bin ends before its constant at {offset}")
    sentinel, _, size, start, _ = _METADATA.unpack_from(storage, offset)
    if sentinel != _SENTINEL:
        raise ValueError(f"weight.bin has no constant at {offset}")
    if start + size > len(storage):
        raise ValueError(f"weight.bin ends inside its constant at {offset}")
    return storage[start : start + size]


def from_bytes(data: bytes, dtype: str, shape: tuple[int, ...]) -> Array:
    """Make an array of stored bytes.

    Args:
        data: little endian, row-major; packed where ``dtype`` is in :data:`PACKED`.
        dtype: name of a type in MIL.proto.
        shape: of the array.

    Raises:
        ValueError: a type that is not read, or bytes that do not fill the shape.
    """
    if dtype in PACKED:
        count = int(np.prod(shape, dtype=np.int64))
        return unpack(np.frombuffer(data, np.uint8), PACKED[dtype], count, dtype == "INT4").reshape(
            shape
        )
    if dtype not in DTYPES:
        raise ValueError(f"constants of type {dtype} are not read")
    return np.frombuffer(data, np.dtype(DTYPES[dtype]).newbyteorder("<")).reshape(shape)


def unpack(packed: Array, bits: int, count: int, signed: bool = False) -> Array:
    """Take integers of a few bits out of bytes, the lowest bits first.

    Args:
        packed: uint8.
        bits: of each integer, 8 at most.
        count: of integers; bits behind them are padding.
        signed: in two's complement.

    Returns:
        Array of ``count`` uint8, or int8 if signed.
    """
    raw = np.unpackbits(packed, count=count * bits, bitorder="little").reshape(count, bits)
    values = np.packbits(raw, axis=1, bitorder="little")[:, 0]
    if signed:
        values = np.where(values >= 1 << bits - 1, values.astype(np.int16) - (1 << bits), values)
        return values.astype(np.int8)
    return values


def affine_dequantize(
    quantized_data: Array, zero_point: Array, scale: Array, axis: Array | int
) -> Array:
    """``scale * (data - zero_point)`` of iOS 16, both scalars or vectors along an axis."""
    shape = np.ones(quantized_data.ndim, int)
    shape[int(axis)] = -1
    scale_ = scale.astype(np.float32).reshape(shape)
    zero_ = zero_point.astype(np.float32).reshape(shape)
    return (scale_ * (quantized_data.astype(np.float32) - zero_)).astype(scale.dtype)


def blockwise_shift_scale(data: Array, scale: Array, offset: Array | None = None) -> Array:
    """``scale * (data - offset)`` of iOS 18, one scale for each block of the data."""
    moved = data.astype(np.float32)
    if offset is not None:
        moved = moved - _stretch(offset.astype(np.float32), data.shape)
    return (_stretch(scale.astype(np.float32), data.shape) * moved).astype(scale.dtype)


def lut_to_dense(
    indices: Array,
    lut: Array,
    shape: Array | None = None,
    vector_axis: Array | int | None = None,
) -> Array:
    """Look weights up in palettes.

    Args:
        indices: uint8; packed if ``shape`` is given (iOS 16), else of the weights' shape (iOS 18).
        lut: one palette of K values (iOS 16), or ``[..., K, V]`` with a palette for each block of
            the indices and V values for each entry (iOS 18).
        shape: of the weights, iOS 16 only.
        vector_axis: along which the V values lie.
    """
    if shape is not None:
        sizes = tuple(int(n) for n in shape)
        bits = (lut.size - 1).bit_length()
        picked: Array = lut[unpack(indices, bits, int(np.prod(sizes, dtype=np.int64)))]
        return picked.reshape(sizes)
    blocks, entries, length = lut.shape[:-2], lut.shape[-2], lut.shape[-1]
    palette = _stretch(np.arange(int(np.prod(blocks))).reshape(blocks), indices.shape)
    picked = lut.reshape(-1, entries, length)[palette, indices]
    if length == 1:
        return picked[..., 0]
    assert vector_axis is not None, "vectors need an axis"
    axis = int(vector_axis) % indices.ndim
    spread = np.moveaxis(picked, -1, axis + 1)
    return spread.reshape(*indices.shape[:axis], -1, *indices.shape[axis + 1 :])


def _stretch(blocks: Array, shape: tuple[int, ...]) -> Array:
    """Repeat values of blocks until they have the shape of the data."""
    for axis, size in enumerate(shape):
        blocks = np.repeat(blocks, size // blocks.shape[axis], axis)
    return blocks


DECOMPRESS: dict[str, Callable[..., Array]] = {
    "constexpr_affine_dequantize": affine_dequantize,
    "constexpr_blockwise_shift_scale": blockwise_shift_scale,
    "constexpr_lut_to_dense": lut_to_dense,
}
"""Operator -> what it makes of its constant inputs, named as in MIL."""
