"""Constants: blob storage, packed bits and compressed weights."""

import numpy as np
import pytest

from cpl_edge.runtimes.mil_blobs import (
    affine_dequantize,
    blockwise_shift_scale,
    from_bytes,
    lut_to_dense,
    read_blob,
    unpack,
)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
def test_unpacking_turns_packing_around(bits):
    values = np.random.default_rng(0).integers(0, 1 << bits, 101)
    whole = sum(int(value) << i * bits for i, value in enumerate(values))
    packed = np.frombuffer(whole.to_bytes(-(-101 * bits // 8), "little"), np.uint8)
    assert unpack(packed, bits, 101).tolist() == values.tolist()


def test_the_lowest_bits_come_first():
    """The example in the description of coremltools' constexpr_lut_to_dense of iOS 16."""
    assert unpack(np.array([0b01101100, 0b11], np.uint8), 2, 5).tolist() == [0, 3, 2, 1, 3]
    found = unpack(np.array([0x8F, 0x07], np.uint8), 4, 3, signed=True)
    assert (found.tolist(), found.dtype) == ([-1, -8, 7], np.int8)


def test_bytes_become_arrays():
    half = np.array([[1.5, -2], [0, 65504]], np.float16)
    assert (from_bytes(half.tobytes(), "FLOAT16", (2, 2)) == half).all()
    assert from_bytes(b"\x21", "UINT4", (2,)).tolist() == [1, 2]
    with pytest.raises(ValueError, match="BFLOAT16 are not read"):
        from_bytes(b"12", "BFLOAT16", (1,))


def test_a_damaged_storage_is_told():
    with pytest.raises(ValueError, match="ends before its constant at 64"):
        read_blob(b"\0" * 64, 64)
    with pytest.raises(ValueError, match="no constant at 0"):
        read_blob(b"\0" * 128, 0)


def test_affine():
    data = np.array([[1, 2], [3, -4]], np.int8)
    scale, zero = np.array([0.5, 2], np.float16), np.array([1, 0], np.int8)
    found = affine_dequantize(data, zero, scale, np.array(0))
    assert (found.tolist(), found.dtype) == ([[0, 0.5], [6, -8]], np.float16)
    assert affine_dequantize(data, np.int8(1), np.float32(2), 1).tolist() == [[0, 2], [4, -10]]


def test_blocks_of_rows_and_columns_have_scales_of_their_own():
    data = np.arange(-4, 4, dtype=np.int8).reshape(2, 4)
    scale = np.array([[1, 10], [2, 20]], np.float32)
    offset = np.array([[0, 1], [0, 1]], np.int8)
    assert blockwise_shift_scale(data, scale).tolist() == [[-4, -3, -20, -10], [0, 2, 40, 60]]
    assert blockwise_shift_scale(data, scale, offset).tolist() == [
        [-4, -3, -30, -20], [0, 2, 20, 40],
    ]  # fmt: skip
    extreme = np.array([[-128]], np.int8)
    far = blockwise_shift_scale(extreme, np.ones((1, 1), np.float32), np.array([[127]], np.int8))
    assert far.tolist() == [[-255]]  # outside int8


def test_palettes_of_groups():
    """Case 1 in the description of coremltools' constexpr_lut_to_dense of iOS 18."""
    indices = np.array([2, 3, 3, 0, 1, 0, 3, 0, 2, 1, 0, 3], np.uint8).reshape(6, 2)
    lut = np.array([1, 5, 9, 13, 2, 10, 18, 26], np.float16).reshape(2, 1, 4, 1)
    assert lut_to_dense(indices, lut).ravel().tolist() == [
        9, 13, 13, 1, 5, 1, 26, 2, 18, 10, 2, 26,
    ]  # fmt: skip


@pytest.mark.parametrize(("axis", "shape"), [(1, (2, 6, 2)), (2, (2, 2, 6)), (-1, (2, 2, 6))])
def test_palettes_of_vectors(axis, shape):
    """Case 2 of the same."""
    indices = np.array([0, 0, 1, 0, 1, 1, 0, 0], np.uint8).reshape(2, 2, 2)
    lut = np.array([1, 2, 3, 10, 20, 30], np.int8).reshape(1, 1, 1, 2, 3)
    found = lut_to_dense(indices, lut, vector_axis=np.array(axis))
    assert found.shape == shape
    if axis == 1:
        assert found[0].T.tolist() == [[1, 2, 3, 10, 20, 30], [1, 2, 3, 1, 2, 3]]
    else:
        assert found[0].tolist() == [[1, 2, 3, 1, 2, 3], [10, 20, 30, 1, 2, 3]]


def test_a_palette_of_packed_indices():
    packed = np.array([0b01101100, 0b11], np.uint8)
    lut = np.array([0, 10, 20, 30], np.float32)
    found = lut_to_dense(packed, lut, shape=np.array([5, 1], np.uint32))
    assert found.tolist() == [[0], [30], [20], [10], [30]]
