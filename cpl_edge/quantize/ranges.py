"""Ranges of activations: what a rounding must hold, found on calibration crops.

One set of ranges serves every target. Two things make them narrower than the smallest and largest
value, which a few outliers decide:

- an observer leaves out the rarest values (``percentile``), or takes the range with the smallest
  squared error (``mse``), of each degradation for itself, and the widest of them counts: what is
  rare among all crops may be all that one degradation has; ``crops`` leaves out the rarest values
  of each crop, so that no crop is clipped for being unlike the others;
- between a block's first convolution and its ReLU only those values count that the ReLU lets
  through: what it drops may saturate, and that was the larger part of these ranges.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from cpl_edge.models.student import Student
from cpl_edge.quantize.calibration import Calibration
from cpl_edge.quantize.rounding import round_activations
from cpl_edge.quantize.simulation import Simulation
from cpl_edge.quantize.support import Observer

Ranges = dict[str, tuple[float, float]]

KEPT = 0.9999
"""Share of values on the inner side of either end of the observer ``percentile``."""

_EXACT = (":scale", ":shift")  # few values, none of them an outlier
_MOST = 1 << 14  # values of one point and one crop that are looked at
_SHARES = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)  # of a range that ``mse`` tries


def find_ranges(student: Student, calibration: Calibration, observer: Observer) -> Ranges:
    """Ranges of every point of a :class:`Simulation`.

    Args:
        student: in evaluation mode, pinned or not.
        calibration: its crops show every degradation that counts.
        observer: ``minmax``, ``percentile``, ``crops`` or ``mse``.

    Returns:
        Point -> smallest and largest value, 0 among them; the image itself is always [0, 1].
    """
    seen: dict[str, list[Tensor]] = {}

    def observe(point: str, value: Tensor, needed: Tensor) -> None:
        seen.setdefault(point, []).append(_sample(needed))

    simulation = Simulation(student, observe=observe)
    ranges: Ranges = {}
    for degradation in dict.fromkeys(calibration.degradations):
        seen.clear()
        with torch.inference_mode():
            for x_BCHW, name in zip(calibration.crops, calibration.degradations, strict=True):
                if name == degradation:
                    simulation.run(x_BCHW, student.route(x_BCHW), rounding=False)
            for point, parts in seen.items():
                kind: Observer = "minmax" if point.endswith(_EXACT) else observer
                for values in parts if kind == "crops" else [torch.cat(parts)]:
                    low, high = _OBSERVERS[kind](values)
                    least, most = ranges.get(point, (0.0, 0.0))
                    ranges[point] = min(low, least), max(high, most)
    ranges["input"] = (0.0, 1.0)
    return ranges


def _sample(value: Tensor) -> Tensor:
    """Values spread evenly over a tensor; an odd step, so that it meets every row and column."""
    flat = value.flatten()
    step = len(flat) // _MOST | 1
    return flat[::step].clone()


def _minmax(values: Tensor) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _percentile(values: Tensor) -> tuple[float, float]:
    n = len(values)
    left_out = int(n * (1 - KEPT))
    return (
        float(values.kthvalue(1 + left_out).values),
        float(values.kthvalue(n - left_out).values),
    )


def _mse(values: Tensor) -> tuple[float, float]:
    low, high = _minmax(values)
    errors = {
        (low * a, high * b): float(
            (round_activations(values, low * a, high * b) - values).square().mean()
        )
        for a, b in product(_SHARES, _SHARES)
    }
    return min(errors, key=lambda bounds: errors[bounds])


_OBSERVERS: dict[Observer, Callable[[Tensor], tuple[float, float]]] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "crops": _percentile,
    "mse": _mse,
}
