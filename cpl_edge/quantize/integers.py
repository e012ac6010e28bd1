"""A student in the integers of XNNPACK, which runs 8-bit LiteRT files: number for number.

Rounding in floats (:class:`~cpl_edge.quantize.simulation.FloatPass`) is as good as a file and not
equal to it: where a value lies at the edge between two steps, the last bit of a float decides, and
every layer makes ten such differences of one. So what a file computes is computed here with the
file's own arithmetic:

- steps and zeros in fp32, from the ends of a range as ai-edge-quantizer takes them;
- biases rounded to multiples of (step of the input) (step of the weight);
- sums of products exact: they are whole numbers below 2^24, which fp32 holds;
- convolutions and products: times one fp32 factor, rounded half to even;
- sums: factors of 21 bits and a shift, rounded half up
  (https://github.com/google/XNNPACK, src/microparams-init.c, ``qs8_add``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl_edge.quantize.simulation import (
    FloatPass,
    Needed,
    Reshape,
    Value,
    convolution,
)

_MOST = 255
_MULTIPLIER_BITS = 20


class Grid:
    """The integers of a range.

    Args:
        low: smallest value, 0 if it is positive.
        high: largest value, 0 if it is negative.
    """

    def __init__(self, low: float, high: float) -> None:
        least, most = np.float32(min(low, 0.0)), np.float32(max(high, 0.0))
        self.step = np.maximum(most - least, np.float32(1e-9)) / np.float32(_MOST)
        self.below = int(np.rint(-least / self.step))
        """Steps below zero; the others lie above."""

    def clip(self, steps: Tensor, relu: bool = False) -> Tensor:
        """Steps from zero that the grid has; with a ReLU those that are not negative."""
        return steps.clamp(0 if relu else -self.below, _MOST - self.below)


@dataclass
class IntegerPass(FloatPass):
    """One execution in integers of 8 bits."""

    def grid(self, point: str) -> Grid:
        """The integers of a point."""
        low, high = self.simulation.ranges[point]
        return Grid(float(low), float(high))

    def round(self, value: Value) -> None:
        grid = self.grid(value.point)
        steps = torch.round(value.value * float(np.float32(1) / grid.step))
        self._keep(value, grid, grid.clip(steps))

    def conv(
        self,
        point: str,
        module: nn.Module,
        value: Value,
        relu: bool = False,
        before: Reshape | None = None,
        after: Reshape | None = None,
        needed: Needed | None = None,
    ) -> Value:
        if not self.rounds(point):
            return super().conv(point, module, value, relu, before, after, needed)
        conv, relu = convolution(module, relu)
        read = self._integers(point, value)
        step_O = conv.weight.abs().amax((1, 2, 3)).clamp(min=1e-9) / 127
        weight = torch.round(conv.weight / step_O[:, None, None, None])
        unit_O = float(self.grid(value.point).step) * step_O
        bias = None if conv.bias is None else torch.round(conv.bias / unit_O)
        total = F.conv2d(before(read) if before else read, weight, bias, conv.stride, conv.padding)
        grid = self.grid(point)
        factor_O = unit_O / float(grid.step)
        steps = torch.round(total * factor_O[:, None, None])
        steps = after(steps) if after else steps
        return self._made_of(point, grid, grid.clip(steps, relu))

    def multiply(self, point: str, a: Value, b: Value, needed: Needed | None = None) -> Value:
        if not self.rounds(point):
            return super().multiply(point, a, b, needed)
        total = self._integers(point, a) * self._integers(point, b)
        grid = self.grid(point)
        factor = self.grid(a.point).step * self.grid(b.point).step / grid.step
        return self._made_of(point, grid, grid.clip(torch.round(total * float(factor))))

    def add(self, point: str, a: Value, b: Value, relu: bool = False) -> Value:
        if not self.rounds(point):
            return super().add(point, a, b, relu)
        grid = self.grid(point)
        factors = [float(self.grid(value.point).step / grid.step) for value in (a, b)]
        bits = _MULTIPLIER_BITS - math.floor(math.log2(max(factors)))
        first, second = (
            self._integers(point, value).double() * round(factor * 2**bits)
            for value, factor in zip((a, b), factors, strict=True)
        )
        steps = torch.floor((first + second) / 2**bits + 0.5).float()
        return self._made_of(point, grid, grid.clip(steps, relu))

    def _integers(self, point: str, value: Value) -> Tensor:
        self.read(point, value)
        assert value.integers is not None
        return value.integers

    def _made_of(self, point: str, grid: Grid, steps: Tensor) -> Value:
        made = Value(point, steps)
        self._keep(made, grid, steps)
        return made

    def _keep(self, value: Value, grid: Grid, steps: Tensor) -> None:
        value.integers, value.is_rounded = steps, True
        value.value = steps * float(grid.step)
