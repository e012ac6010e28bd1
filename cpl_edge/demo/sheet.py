"""The contact sheet: one row a degradation, degraded | restored | clean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_MARGIN, _TEXT = 8, 22


@dataclass(frozen=True)
class SheetRow:
    """One row of the sheet: three uint8 RGB images of one size and their captions."""

    images_HWC: tuple[npt.NDArray[np.uint8], ...]
    captions: tuple[str, ...]


def contact_sheet(rows: Sequence[SheetRow], width: int = 360) -> Image.Image:
    """Draw rows of captioned images below each other.

    Args:
        rows: at least one; each has as many captions as images.
        width: of every image on the sheet, in pixels.

    Returns:
        An RGB picture on white.
    """
    font = ImageFont.load_default(14)
    shown = [[_fit(image, width) for image in row.images_HWC] for row in rows]
    heights = [max(image.height for image in row) + _TEXT + _MARGIN for row in shown]
    columns = max(len(row) for row in shown)
    size = (columns * (width + _MARGIN) + _MARGIN, sum(heights) + _MARGIN)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    top = _MARGIN
    for row, images, height in zip(rows, shown, heights, strict=True):
        left = _MARGIN
        for image, caption in zip(images, row.captions, strict=True):
            draw.text((left, top), caption, fill="black", font=font)
            sheet.paste(image, (left, top + _TEXT))
            left += width + _MARGIN
        top += height
    return sheet


def _fit(image_HWC: npt.NDArray[np.uint8], width: int) -> Image.Image:
    image = Image.fromarray(image_HWC)
    height = max(1, round(image.height * width / image.width))
    return image.resize((width, height), Image.Resampling.LANCZOS)
