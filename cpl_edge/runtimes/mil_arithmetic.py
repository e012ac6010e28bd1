"""In which numbers a program is evaluated, and how its sums are accumulated.

Values are held as float32 throughout; a value of fp16 is a float32 that fp16 can represent. The
product of two such values is exact in float32, so rounding after each operator is what hardware
does that accumulates in fp32 (or wider) and stores fp16. With ``half_sums`` the accumulator itself
is fp16: after every single addition of a dot product or a mean, in their plain order. Hardware
adds in an order of its own, so that is a bound to plan with and no prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Arithmetic:
    """How to compute.

    Attributes:
        floats: ``declared``: every value in the type that the program says; ``fp32``: nothing is
            rounded, which shows the program alone; ``fp16``: everything is, also what is declared
            as fp32.
        half_sums: accumulate dot products and means of fp16 values in fp16.
    """

    floats: Literal["declared", "fp32", "fp16"] = "declared"
    half_sums: bool = False

    def is_half(self, dtype: str) -> bool:
        """Whether values of a declared type are rounded to fp16."""
        if self.floats == "declared":
            return dtype == "FLOAT16"
        return self.floats == "fp16" and dtype in ("FLOAT16", "FLOAT32")


def to_half(values: Array) -> FloatArray:
    """Round to fp16, to nearest and ties to even; what lies beyond 65504 becomes infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)


def dot(a_MK: Array, b_KN: Array, half_sums: bool) -> Array:
    """Matrix product, also of stacks of matrices."""
    if not half_sums:
        return np.asarray(a_MK @ b_KN)
    total = np.zeros((*np.broadcast_shapes(a_MK.shape[:-2], b_KN.shape[:-2]), 1, 1), np.float32)
    with np.errstate(invalid="ignore"):  # infinities of both signs meet
        for k in range(a_MK.shape[-1]):
            total = to_half(total + a_MK[..., :, k : k + 1] * b_KN[..., k : k + 1, :])
    return total


def add_up(x: Array, axes: Sequence[int], half_sums: bool) -> Array:
    """Sum over axes, which stay with length 1."""
    if not half_sums:
        return np.asarray(x.sum(tuple(axes), keepdims=True))
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    rows = x.transpose(*axes, *kept).reshape(-1, *(x.shape[axis] for axis in kept))
    total = np.zeros(rows.shape[1:], np.float32)
    with np.errstate(invalid="ignore"):
        for row in rows:
            total = to_half(total + row)
    return total.reshape(shape)
