"""The picture of a validation: one row a degradation, degraded | restored | clean of its images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cpl_edge.train.validation import Sample

Colour = tuple[int, int, int]
COLUMNS = ("degraded", "restored", "clean")
_NOTE = "middle of held-out images; PSNR of the whole"
_WHITE, _BLACK, _GREY = (255, 255, 255), (20, 20, 20), (95, 95, 95)
_GREEN, _RED = (16, 118, 60), (190, 44, 36)
_TILE = 224  # pixels shown of an image's sides: its own pixels, since noise vanishes when shrunk
_MARGIN, _GAP, _LINE = 16, 8, 22


def draw_grid(title: str, samples: Sequence[Sample]) -> Image.Image:
    """Draw what a network makes of held-out images, and what its router selected for them.

    Args:
        title: what network, after how many steps.
        samples: at least one; those of one degradation come into one row.

    Returns:
        An RGB picture on white; every image as its middle, pixel for pixel, small ones enlarged
        by a whole factor.
    """
    font, bold = ImageFont.load_default(15), ImageFont.load_default(18)
    kinds = dict.fromkeys(sample.kind for sample in samples)
    rows = [[sample for sample in samples if sample.kind == kind] for kind in kinds]
    lines = {id(sample): _lines(sample) for sample in samples}
    tiles = {id(sample): [_middle(image) for image in sample.images_HWC] for sample in samples}

    # Every row is as high, and every block of text and three images as wide, as the largest.
    words = [line for text in lines.values() for line, _ in text[1:]]
    beside = 2 * _GAP + int(
        max(*(bold.getlength(s.kind) for s in samples), *(font.getlength(word) for word in words))
    )
    tile = int(max(*(t[0].width for t in tiles.values()), *(font.getlength(c) for c in COLUMNS)))
    height = max(*(t[0].height for t in tiles.values()), *(_LINE * len(t) for t in lines.values()))
    block = beside + len(COLUMNS) * (tile + _GAP) + _MARGIN
    head = _MARGIN + 3 * _LINE + _GAP
    text_width = int(max(bold.getlength(title), font.getlength(_NOTE)))
    width = max(max(len(row) for row in rows) * block, text_width + _MARGIN) + _MARGIN
    picture = Image.new("RGB", (width, head + len(rows) * (height + _GAP) + _GAP), _WHITE)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN, _MARGIN), title, _BLACK, bold)
    draw.text((_MARGIN, _MARGIN + _LINE + 2), _NOTE, _GREY, font)
    for number, row in enumerate(rows):
        top = head + number * (height + _GAP)
        for place, sample in enumerate(row):
            left = _MARGIN + place * block
            for n, (line, colour) in enumerate(lines[id(sample)]):
                draw.text((left, top + n * _LINE), line, colour, font if n else bold)
            for column, image in enumerate(tiles[id(sample)]):
                x = left + beside + column * (tile + _GAP)
                picture.paste(image, (x, top))
                if number == 0:
                    draw.text((x, head - _LINE), COLUMNS[column], _BLACK, font)
    return picture


def _lines(sample: Sample) -> list[tuple[str, Colour]]:
    """What stands beside a sample, and in which colour."""
    gain = sample.after - sample.before
    choice = {True: _GREEN, False: _RED, None: _GREY}[sample.right]
    first, *rest = sample.selected
    return [
        (sample.kind, _BLACK),
        (f"degraded {sample.before:.2f} dB", _GREY),
        (f"restored {sample.after:.2f} dB ({gain:+.2f})", _GREEN if gain >= 0 else _RED),
        (first, choice),
        *((line, _GREY) for line in rest),
    ]


def _middle(image_HWC: np.ndarray) -> Image.Image:
    h, w = image_HWC.shape[:2]
    y, x = max(0, h - _TILE) // 2, max(0, w - _TILE) // 2
    part = Image.fromarray(np.ascontiguousarray(image_HWC[y : y + _TILE, x : x + _TILE]))
    factor = max(1, _TILE // max(part.size))
    return part.resize((part.width * factor, part.height * factor), Image.Resampling.NEAREST)
