"""The prompt report as a picture: who is selected for what, and what forcing another one costs."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from cpl_edge.evaluate.prompts import ForcedReport, PromptReport, SiteReport
from cpl_edge.evaluate.prompts_report import forced_verdict
from cpl_edge.evaluate.report import decibels

Colour = tuple[int, int, int]
_WHITE, _BLACK, _GREY = (255, 255, 255), (20, 20, 20), (110, 110, 110)
_BLUE, _RED, _GREEN = (24, 92, 170), (196, 54, 44), (20, 130, 70)
_CELL, _ROW, _MARGIN, _TITLE, _HEAD = 96, 34, 24, 30, 26
_FULL_LOSS = 6.0  # decibels lost that are drawn in the fullest red


def draw_prompts(report: PromptReport) -> Image.Image:
    """Draw a block for every site, and one for the forced prompts, below each other.

    Selection: share of images, white to blue. Forced prompts: PSNR, the redder the more it falls
    behind the best of its row; a frame around the degradation's own prompts, green where they win.

    Returns:
        An RGB picture on white.
    """
    font, bold = ImageFont.load_default(15), ImageFont.load_default(17)
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    label = 16 + max(int(probe.textlength(text, font)) for text in (*report.labels, "degraded by"))
    columns = max(len(report.forced.columns) + 2, *(len(s.choices) for s in report.sites))
    blocks = len(report.sites) + 1
    block = _TITLE + 2 * _HEAD + len(report.labels) * _ROW + 14
    height = 2 * _MARGIN + _TITLE + 8 + blocks * block
    width = max(2 * _MARGIN + label + columns * _CELL, 2 * _MARGIN + 760)
    picture = Image.new("RGB", (width, height), _WHITE)
    draw = ImageDraw.Draw(picture)
    title = f"{report.model} ({report.kind}) on {report.suite.name}, {sum(report.images)} images"
    draw.text((_MARGIN, _MARGIN), title, _BLACK, bold)
    top = _MARGIN + _TITLE + 8
    for site in report.sites:
        _head(draw, top, f"{site.name}: selected prompt", _site_line(site), bold, font)
        _columns(draw, top + _TITLE + _HEAD, label, site.choices, font)
        for d, name in enumerate(report.labels):
            y = top + _TITLE + 2 * _HEAD + d * _ROW
            draw.text((_MARGIN, y + 8), name, _BLACK, font)
            for g, share in enumerate(site.share_DG[d]):
                text = f"{share:.0%}" if share else ""
                _cell(draw, _MARGIN + label + g * _CELL, y, text, _mix(_BLUE, share), font)
        top += block
    _forced(draw, top, label, report, bold, font)
    return picture


def _forced(
    draw: ImageDraw.ImageDraw,
    top: int,
    label: int,
    report: PromptReport,
    bold: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    forced: ForcedReport = report.forced
    _head(draw, top, "PSNR dB with forced prompts", forced_verdict(forced), bold, font)
    _columns(draw, top + _TITLE + _HEAD, label, ("before", "routed", *forced.columns), font)
    for d, name in enumerate(report.labels):
        y = top + _TITLE + 2 * _HEAD + d * _ROW
        draw.text((_MARGIN, y + 8), name, _BLACK, font)
        best = max(forced.forced_DC[d])
        values = (forced.before_D[d], forced.routed_D[d], *forced.forced_DC[d])
        for c, value in enumerate(values):
            x = _MARGIN + label + c * _CELL
            # Equal images have an infinite PSNR, and infinity minus itself is no number.
            loss = min((best - value) / _FULL_LOSS, 1) if c >= 2 and value < best else 0
            _cell(draw, x, y, decibels(value), _mix(_RED, 0.8 * loss), font)
            if c - 2 == forced.own_D[d]:
                frame = _GREEN if (forced.margin_D[d] or 0) > 0 else _BLACK
                draw.rectangle((x, y, x + _CELL - 3, y + _ROW - 3), outline=frame, width=3)


def _site_line(site: SiteReport) -> str:
    return (
        f"separation {site.separation:.2f} (1: tells all degradations apart, 0: none), "
        f"mutual information {site.information:.2f} bits"
    )


def _head(
    draw: ImageDraw.ImageDraw,
    top: int,
    title: str,
    line: str,
    bold: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    draw.text((_MARGIN, top), title, _BLACK, bold)
    draw.text((_MARGIN, top + _TITLE - 4), line, _GREY, font)


def _columns(
    draw: ImageDraw.ImageDraw,
    top: int,
    label: int,
    names: Sequence[str],
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    for i, name in enumerate(names):
        while draw.textlength(name, font) > _CELL - 6:
            name = name.removesuffix("…")[:-1] + "…"
        x = _MARGIN + label + i * _CELL + (_CELL - draw.textlength(name, font)) / 2
        draw.text((x, top), name, _BLACK, font)


def _cell(
    draw: ImageDraw.ImageDraw,
    x: int,
    y: int,
    text: str,
    fill: Colour,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    draw.rectangle((x, y, x + _CELL - 3, y + _ROW - 3), fill=fill, outline=(225, 225, 225))
    colour = _WHITE if sum(fill) < 400 else _BLACK
    draw.text((x + (_CELL - draw.textlength(text, font)) / 2, y + 7), text, colour, font)


def _mix(colour: Colour, share: float) -> Colour:
    """White at 0, the colour at 1."""
    r, g, b = (round(255 + (c - 255) * share) for c in colour)
    return r, g, b
