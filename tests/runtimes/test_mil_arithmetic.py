"""Rounding to fp16 and sums in fp16."""

import numpy as np
import pytest

from cpl_edge.runtimes.mil_arithmetic import Arithmetic, add_up, dot, to_half


def test_rounding_is_to_nearest_ties_to_even_and_overflows_to_infinity():
    found = to_half(np.array([2049, 2051, 65519, 65520, -1e6, 1e-8], np.float32))
    assert found.tolist() == [2048, 2052, 65504, np.inf, -np.inf, 0]
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("floats", "half", "single"),
    [("declared", True, False), ("fp32", False, False), ("fp16", True, True)],
)
def test_which_types_are_rounded(floats, half, single):
    arithmetic = Arithmetic(floats)
    assert arithmetic.is_half("FLOAT16") == half
    assert arithmetic.is_half("FLOAT32") == single
    assert not arithmetic.is_half("INT32")


def test_a_sum_in_half_precision_stops_growing():
    x = np.ones((1, 2, 4096), np.float32)
    assert add_up(x, (2,), True).tolist() == [[[2048], [2048]]]
    assert add_up(x, (0, 2), False).tolist() == [[[4096], [4096]]]
    assert add_up(np.full((1, 2, 4, 5), 0.5, np.float32), (1, 3), True).shape == (1, 1, 4, 1)


def test_stacked_products_broadcast_in_half_precision():
    generator = np.random.default_rng(0)
    a = to_half(generator.random((3, 1, 2, 5)))
    b = to_half(generator.random((4, 5, 6)))
    found = dot(a, b, True)
    assert found.shape == (3, 4, 2, 6)
    np.testing.assert_allclose(found, a @ b, atol=5e-3)
    assert dot(np.full((1, 2), 60000, np.float32), np.ones((2, 1), np.float32), True) == np.inf
