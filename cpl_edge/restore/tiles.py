"""Cutting a photo into tiles so that the result is as if it were restored whole.

The photo is thought of as padded by ``halo`` pixels on every side and beyond, reflected with the
edge pixel repeated (NumPy's ``symmetric``). Nothing padded is ever made: a window that leaves the
photo is read through reflected indices. Every output pixel comes from a tile that holds at least
``halo`` pixels around it, and tiles start at multiples of ``multiple`` of the padded photo, so that
the network's grids fall on the same pixels in each of them. With a halo as wide as the network
reaches the result is equal; a file may keep a smaller one (`cpl_edge.export.halo`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cpl_edge.errors import UserError
from cpl_edge.runtimes.info import ModelInfo


@dataclass(frozen=True)
class Tile:
    """One tile.

    Attributes:
        top: row of the photo at which its window starts; negative in the padding.
        left: column likewise.
        rows: of the photo that it restores, at ``halo`` and on in the window.
        columns: likewise.
    """

    top: int
    left: int
    rows: slice
    columns: slice


@dataclass(frozen=True)
class Grid:
    """The tiles of a photo, row by row.

    Attributes:
        height: of the photo in pixels.
        width: of the photo in pixels.
        halo: pixels that a tile sees around those that it restores.
        step_rows: rows that a tile restores.
        step_columns: columns that a tile restores.
    """

    height: int
    width: int
    halo: int
    step_rows: int
    step_columns: int

    def __len__(self) -> int:
        return -(-self.height // self.step_rows) * -(-self.width // self.step_columns)

    def __iter__(self) -> Iterator[Tile]:
        for top in range(0, self.height, self.step_rows):
            for left in range(0, self.width, self.step_columns):
                yield Tile(
                    top=top - self.halo,
                    left=left - self.halo,
                    rows=slice(top, min(top + self.step_rows, self.height)),
                    columns=slice(left, min(left + self.step_columns, self.width)),
                )


def grid(height: int, width: int, info: ModelInfo) -> Grid:
    """Plan the tiles of a photo for a model.

    Args:
        height: of the photo in pixels.
        width: of the photo in pixels.
        info: gives the size of a tile, the halo and the multiple.

    Raises:
        UserError: the model's images are all halo.
    """
    steps = [
        (side - 2 * info.halo) // info.multiple * info.multiple
        for side in (info.height, info.width)
    ]
    if min(steps) <= 0:
        raise UserError(
            f"tiles of {info.height}x{info.width} pixels leave nothing beside a halo of "
            f"{info.halo}: export with a --size of {2 * info.halo + info.multiple} or more"
        )
    return Grid(height, width, info.halo, *steps)


def window(
    image_HWC: npt.NDArray[Any], top: int, left: int, height: int, width: int
) -> npt.NDArray[Any]:
    """Read a window of a photo, reflected where it leaves it.

    Args:
        image_HWC: the photo.
        top: first row, may be negative or beyond the photo.
        left: first column, likewise.
        height: rows of the window.
        width: columns of the window.

    Returns:
        (height, width, C): a view inside of the photo, a copy where it is reflected.
    """
    rows, columns = image_HWC.shape[:2]
    if top >= 0 and left >= 0 and top + height <= rows and left + width <= columns:
        return image_HWC[top : top + height, left : left + width]
    y = reflected(top, height, rows)
    x = reflected(left, width, columns)
    copy: npt.NDArray[Any] = image_HWC[y[:, None], x]
    return copy


def reflected(start: int, length: int, size: int) -> npt.NDArray[np.intp]:
    """Indices ``start .. start + length`` of an axis, reflected into [0, size).

    Any number of reflections, so that an axis of one pixel works too.
    """
    index = np.arange(start, start + length) % (2 * size)
    return np.minimum(index, 2 * size - 1 - index)
