"""What rounding costs: PSNR of a rounded student against its fp32 student, per degradation."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from cpl_edge.models.student import Student
from cpl_edge.quantize.calibration import Calibration

Restore = Callable[[Tensor, Tensor], Tensor]
"""From an image and prompt weights ``w_BSN`` to what is restored."""


@dataclass(frozen=True)
class Losses:
    """Of one degradation, in dB against the clean crops.

    Attributes:
        student: mean PSNR of the fp32 student.
        rounded: mean PSNR of the rounded one.
        each: what every crop loses, in their order.
    """

    student: float
    rounded: float
    each: list[float]

    @property
    def mean(self) -> float:
        """What a crop loses."""
        return statistics.mean(self.each)

    @property
    def worst(self) -> float:
        """What the crop loses that loses most."""
        return max(self.each)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a card."""
        return {
            "student": round(self.student, 3),
            "rounded": round(self.rounded, 3),
            "drop_mean": round(self.mean, 4),
            "drop_worst": round(self.worst, 4),
        }


class Judge:
    """An fp32 student on crops; holds other students against it.

    Args:
        student: in evaluation mode; it also routes.
        judged: crops that did not calibrate.
    """

    def __init__(self, student: Student, judged: Calibration) -> None:
        self.judged = judged
        with torch.no_grad():
            self.routed = [student.route(x_BCHW) for x_BCHW in judged.crops]
            self.expected = [
                student.restore(x_BCHW, w_BSN)
                for x_BCHW, w_BSN in zip(judged.crops, self.routed, strict=True)
            ]

    @torch.no_grad()
    def losses(self, restore: Restore) -> dict[str, Losses]:
        """Degradation -> what another student loses."""
        pairs: dict[str, list[tuple[float, float]]] = {}
        judged = self.judged
        for x_BCHW, w_BSN, clean_BCHW, degradation, y_BCHW in zip(
            judged.crops, self.routed, judged.clean, judged.degradations, self.expected, strict=True
        ):
            found = psnr(restore(x_BCHW, w_BSN), clean_BCHW)
            pairs.setdefault(degradation, []).append((psnr(y_BCHW, clean_BCHW), found))
        return {
            degradation: Losses(
                statistics.mean(before for before, _ in values),
                statistics.mean(after for _, after in values),
                [before - after for before, after in values],
            )
            for degradation, values in pairs.items()
        }

    def drop(self, restore: Restore) -> float:
        """Mean loss of the degradation that loses most."""
        return max(losses.mean for losses in self.losses(restore).values())

    @torch.no_grad()
    def parity(self, restore: Restore) -> float:
        """PSNR against the fp32 student's own output, of the worst crop."""
        rows = zip(self.judged.crops, self.routed, self.expected, strict=True)
        return min(psnr(restore(x, w), y) for x, w, y in rows)


def psnr(y_BCHW: Tensor, target_BCHW: Tensor) -> float:
    """PSNR in dB for a peak of 1, the image clipped to [0, 1]; 120 for equal ones."""
    error = float((y_BCHW.clamp(0, 1) - target_BCHW.clamp(0, 1)).square().mean())
    return -10 * math.log10(max(error, 1e-12))


def losses_table(columns: Sequence[tuple[str, dict[str, Losses]]]) -> Table:
    """Degradations down, one or more rounded students across: mean and worst loss."""
    table = Table("degradation", "fp32 dB", *(f"{name}: mean, worst loss" for name, _ in columns))
    for degradation in columns[0][1]:
        cells = [f"{losses[degradation].mean:.3f}, {losses[degradation].worst:.3f}"
                 for _, losses in columns]  # fmt: skip
        table.add_row(degradation, f"{columns[0][1][degradation].student:.2f}", *cells)
    return table
