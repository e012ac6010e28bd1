"""Bias correction: the mean error that rounding causes is taken out of the convolutions' biases.

Rounded weights and inputs shift the mean of what a convolution makes, and the next layers build on
it. So the shift of each output channel is measured on calibration crops, before the ReLU, and
subtracted from the bias; layer by layer, since each reads what the corrected ones before it make
(Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
section 4.2, the empirical variant of appendix D). It is done on the student, so every target gets
it. In float the student is another one then: it is right only where it is rounded.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cpl_edge.models.student import Student
from cpl_edge.quantize.calibration import Calibration
from cpl_edge.quantize.ranges import Ranges
from cpl_edge.quantize.simulation import FloatPass, Simulation

CROPS = 8
"""Crops of each degradation that are looked at; all of them are in memory at once."""


def correct_biases(
    student: Student,
    calibration: Calibration,
    ranges: Ranges,
    kept: Sequence[str] = (),
    bits: int = 8,
) -> Student:
    """A student whose convolutions, when rounded, have the means that the float ones have.

    Args:
        student: in evaluation mode, folded, pinned or not; it is not changed.
        calibration: crops that show every degradation that counts.
        ranges: of its activations.
        kept: sites that stay in float.
        bits: of activations.

    Returns:
        A copy with other biases. Convolutions without a bias stay as they are; what they shift,
        the next ones correct.
    """
    corrected = copy.deepcopy(student)
    crops = _chosen(calibration)
    with torch.no_grad():
        x_BCHW, w_BSN = torch.cat(crops), torch.cat([student.route(crop) for crop in crops])
        exact = Simulation(student)
        means = _Means(exact, rounding=False)
        exact.execute(means, x_BCHW, w_BSN)
        rounded = Simulation(corrected, bits, frozenset(kept), ranges)
        rounded.execute(_Correction(rounded, True, means.found), x_BCHW, w_BSN)
    return corrected


def _chosen(calibration: Calibration) -> list[Tensor]:
    left = dict.fromkeys(calibration.degradations, CROPS)
    crops = []
    for x_BCHW, degradation in zip(calibration.crops, calibration.degradations, strict=True):
        if left[degradation]:
            crops.append(x_BCHW)
            left[degradation] -= 1
    return crops


@dataclass
class _Means(FloatPass):
    """Notes the mean of each output channel of each convolution, before its ReLU."""

    found: dict[str, Tensor] = field(default_factory=dict)

    def convolve(self, point: str, conv: nn.Conv2d, x_BCHW: Tensor, weight: Tensor) -> Tensor:
        out = super().convolve(point, conv, x_BCHW, weight)
        self.found[point] = out.mean((0, 2, 3))
        return out


@dataclass
class _Correction(FloatPass):
    """Changes each bias before anything reads what its convolution makes."""

    wanted: dict[str, Tensor]

    def convolve(self, point: str, conv: nn.Conv2d, x_BCHW: Tensor, weight: Tensor) -> Tensor:
        out = super().convolve(point, conv, x_BCHW, weight)
        if conv.bias is None:
            return out
        error_C = out.mean((0, 2, 3)) - self.wanted[point]
        conv.bias.sub_(error_C)
        return out - error_C[:, None, None]
