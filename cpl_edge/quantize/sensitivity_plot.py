"""The sensitivity plot: modules down, degradations across, and what sparing a module gives back."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cpl_edge.quantize.sensitivity import Sensitivity, worst

_ROW, _NAME, _CELL, _BAR, _MARGIN = 24, 190, 86, 320, 16  # pixels
_TOP = 84
_INK, _PAPER, _RULE = (30, 30, 30), (255, 255, 255), (220, 220, 220)
_HOT, _BLUE, _ORANGE = (214, 69, 50), (66, 110, 180), (230, 150, 40)


def plot(result: Sensitivity, title: str, path: Path) -> None:
    """Draw a sensitivity as PNG.

    Each row is a module, in the order of execution. The cells hold what each degradation loses
    with this module alone rounded, the redder the more. The bar is what the degradation that loses
    most gets back when this module alone stays in float; orange where the mixed recipe keeps it.

    Args:
        result: to draw.
        title: its first line.
        path: of the PNG.
    """
    kinds, sites = list(result.everything), list(result.alone)
    largest = max(max(drops.values()) for drops in result.alone.values())
    gains = {s: worst(result.everything) - worst(result.spared[s]) for s in sites}
    longest = max(*gains.values(), 1e-6)
    left = _MARGIN + _NAME
    bars = left + _CELL * len(kinds) + 24
    width, height = bars + _BAR + 90, _TOP + _ROW * len(sites) + 2 * _MARGIN
    image = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(image)
    small, large = ImageFont.load_default(13), ImageFont.load_default(17)
    draw.text((_MARGIN, 10), title, _INK, large)
    summary = (
        f"all rounded: {worst(result.everything):.3f} dB lost; mixed: {worst(result.mixed):.3f} dB "
        f"with {len(result.kept)} of {len(sites)} modules in float"
    )
    draw.text((_MARGIN, 34), summary, _INK, small)
    for k, kind in enumerate(kinds):
        draw.text((left + _CELL * k + 6, _TOP - 22), kind, _INK, small)
    draw.text((_MARGIN, _TOP - 22), "rounded alone, dB lost", _INK, small)
    draw.text((bars, _TOP - 22), "given back by keeping it in float, dB", _INK, small)
    for row, site in enumerate(sites):
        y = _TOP + _ROW * row
        draw.text((_MARGIN, y + 4), site, _INK, small)
        for k, kind in enumerate(kinds):
            loss, x = result.alone[site][kind], left + _CELL * k
            share = max(0.0, loss / largest) ** 0.5 if largest > 0 else 0.0
            colour = tuple(round(255 + (hot - 255) * share) for hot in _HOT)
            draw.rectangle((x, y, x + _CELL - 3, y + _ROW - 3), colour)
            draw.text((x + 6, y + 4), f"{loss:.3f}", _INK if share < 0.8 else _PAPER, small)
        end = bars + round(_BAR * max(0.0, gains[site]) / longest)
        colour = _ORANGE if site in result.kept else _BLUE
        draw.rectangle((bars, y + 3, max(end, bars + 1), y + _ROW - 6), colour)
        draw.text((max(end, bars) + 6, y + 4), f"{gains[site]:+.3f}", _INK, small)
        draw.line((_MARGIN, y + _ROW - 1, width - _MARGIN, y + _ROW - 1), _RULE)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
