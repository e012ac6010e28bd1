"""How much of a tile's surroundings its core really depends on.

:attr:`cpl_edge.models.student.Student.halo` is what convolutions can reach, and what lies at the
end of that reach hardly counts: the effective receptive field is smaller (Luo et al., NeurIPS
2016). Pixels of the halo are computed for nothing, so a file keeps the smallest one that does not
show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cpl_edge.export.crops import Crop
from cpl_edge.models.student import Student


class Halo(NamedTuple):
    """A halo and what it costs.

    Attributes:
        pixels: on every side of a tile's core.
        levels: largest difference of any value of a core from the whole crop restored at once, on
            the crops looked at, in levels of 255.
    """

    pixels: int
    levels: float


def smallest_halo(
    student: Student, crops: Sequence[Crop], seam: float, pinned_N: Tensor | None = None
) -> Halo:
    """The smallest halo whose tiles differ by no more than ``seam`` from the whole.

    The middle of each crop is restored alone, as a tile is, and held against the same pixels of
    the whole crop; a pixel as far from the tile's border as a halo is wide tells what that halo
    would have done.

    Args:
        student: in evaluation mode, fp32, not pinned.
        crops: of one size, larger than two halos.
        seam: levels of 255; 0 for all that convolutions reach.
        pinned_N: prompt weights of every photo, else the student routes.
    """
    reach, multiple = student.halo, student.multiple
    if not seam:
        return Halo(reach, 0.0)
    halos = range(0, reach, multiple)
    levels = [0.0 for _ in halos]
    for crop in crops:
        error_HW = tile_error(student, crop.x_BCHW, pinned_N)
        depth_HW = _depth(error_HW)
        for i, halo in enumerate(halos):
            inside = error_HW[depth_HW >= halo]
            # A tile too small to have such a pixel says nothing about that halo.
            worst = float(inside.max()) if len(inside) else float("inf")
            levels[i] = max(levels[i], worst)
    for halo, worst in zip(halos, levels, strict=True):
        if worst <= seam:
            return Halo(halo, worst)
    return Halo(reach, 0.0)


def tile_error(student: Student, x_BCHW: Tensor, pinned_N: Tensor | None = None) -> Tensor:
    """By how much the middle of a crop, restored alone, differs: ``error_HW``, levels of 255."""
    reach = student.halo
    with torch.inference_mode():
        logits_BSL = student.logits(x_BCHW)
        w_BSN = student.select(logits_BSL) if pinned_N is None else pinned_N[None, None]
        whole_BCHW = student.restore(x_BCHW, w_BSN).clamp(0, 1)
        middle = (..., slice(reach, -reach), slice(reach, -reach))
        tile_BCHW = student.restore(x_BCHW[middle], w_BSN).clamp(0, 1)
        error_HW: Tensor = (tile_BCHW - whole_BCHW[middle]).abs().amax((0, 1)) * 255
    return error_HW


def _depth(error_HW: Tensor) -> Tensor:
    """Distance of each pixel from the border, 0 for the outermost."""
    height, width = error_HW.shape
    row_H, column_W = torch.arange(height), torch.arange(width)
    row_H, column_W = torch.minimum(row_H, row_H.flip(0)), torch.minimum(column_W, column_W.flip(0))
    return torch.minimum(row_H[:, None], column_W)
