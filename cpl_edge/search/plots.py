"""The plots of a search as SVG text: the front of quality against cost, and who selects what.

Written by hand, so that the files are small, the same on every machine, and need no package.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from cpl_edge.search.results import Run, SearchResult

_INK, _FAINT, _ACCENT = "#222222", "#d0d0d0", "#1f5fa8"


def front(result: SearchResult) -> str:
    """Mean PSNR of the seen conditions against int8 milliseconds, or MACs where none are measured.

    A dot for each seed and a bar at their mean; the line joins the candidates that no other beats
    at less cost.
    """
    target = "litert dynamic"  # the int8 that ships
    timed = [run for run in result.runs if target in run.latency_ms]
    use_time = bool(timed)
    runs = timed or result.runs
    points = []  # name, cost, quality of each seed
    for name in result.about_candidates:
        own = [run for run in runs if run.candidate == name]
        if own:
            costs = [run.latency_ms[target] if use_time else run.macs / 1e6 for run in own]
            psnrs = [run.quality(result.seen) for run in own]
            points.append((name, float(np.median(costs)), psnrs))
    width, height, left, right, top, bottom = 760, 420, 70, 170, 40, 50
    xs = [cost for _, cost, _ in points]
    ys = [psnr for _, _, psnrs in points for psnr in psnrs]
    x_lo, x_hi = 0.0, max(xs) * 1.05
    y_lo, y_hi = _widened(min(ys), max(ys), 0.08)

    def x_of(value: float) -> float:
        return left + (value - x_lo) / (x_hi - x_lo) * (width - left - right)

    def y_of(value: float) -> float:
        return height - bottom - (value - y_lo) / (y_hi - y_lo) * (height - top - bottom)

    parts = [_text(left, 22, f"{result.name}: mean PSNR of the seen degradations", size=14)]
    for tick in _ticks(x_lo, x_hi):
        parts.append(_line(x_of(tick), top, x_of(tick), height - bottom, _FAINT))
        parts.append(_text(x_of(tick), height - bottom + 16, f"{tick:g}", "middle"))
    for tick in _ticks(y_lo, y_hi):
        parts.append(_line(left, y_of(tick), width - right, y_of(tick), _FAINT))
        parts.append(_text(left - 6, y_of(tick) + 4, f"{tick:g}", "end"))
    unit = f"{target}, ms at 256x256" if use_time else "million multiply-accumulates at 256x256"
    parts.append(_text((left + width - right) / 2, height - 12, unit, "middle"))
    parts.append(_text(12, top - 8, "dB"))
    best = _front([(cost, float(np.mean(psnrs))) for _, cost, psnrs in points])
    path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in best)
    parts.append(f'<polyline points="{path}" fill="none" stroke="{_ACCENT}" stroke-width="1.5"/>')
    labels = []
    for name, cost, psnrs in points:
        x, y = x_of(cost), y_of(float(np.mean(psnrs)))
        parts += [_dot(x, y_of(psnr)) for psnr in psnrs]
        parts.append(_line(x - 6, y, x + 6, y, _ACCENT, 2))
        labels.append((y, x, f"{name} {np.mean(psnrs):.2f}"))
    for y, (from_y, x, label) in zip(_apart([y for y, *_ in labels]), sorted(labels), strict=True):
        parts.append(_line(x + 8, from_y, width - right + 10, y, _FAINT))
        parts.append(_text(width - right + 14, y + 4, label))
    return _svg(width, height, parts)


def selections(result: SearchResult) -> str:
    """Which prompt each condition selects: a panel for each candidate, first seed first.

    Rows are conditions, columns prompts; the levels of one degradation, or the prompts of one site,
    stand together. The darker, the larger the prompt's mean share.
    """
    shown: list[Run] = []
    for name in result.about_candidates:
        shown += [run for run in result.of(name) if run.figures[0].weights][:2]
    labels = [c["label"] for c in result.conditions]
    cell, gap, left, head, most = 16, 40, 110, 70, 900
    tall = len(labels) * cell + head + 20
    parts = [_text(10, 20, f"{result.name}: selected prompts (columns) by condition", size=14)]
    x0, y0, widest = left, 30 + head, 0
    for run in shown:
        prompts = len(run.figures[0].weights)
        wide = max(prompts * cell, 7 * len(run.name)) + gap
        if x0 > left and x0 + wide > most:
            x0, y0 = left, y0 + tall
        if x0 == left:
            parts += [
                _text(left - 6, y0 + row * cell + 12, label, "end")
                for row, label in enumerate(labels)
            ]
        parts += _panel(run, labels, x0, y0, cell)
        x0 += wide
        widest = max(widest, x0)
    return _svg(widest, y0 + tall - head, parts)


def _panel(run: Run, labels: Sequence[str], x0: float, y0: float, cell: int) -> list[str]:
    """One candidate's picture with its upper left cell at (x0, y0)."""
    prompts = len(run.figures[0].weights)
    owned = run.choices
    names: Sequence[object] = range(1, prompts + 1)
    if run.sites > 1:
        owned, names = prompts // run.sites, [f"site {n}" for n in range(run.sites, 0, -1)]
    elif run.config["prompt"] == "levels":
        names = run.config["degradations"]
    parts = [_text(x0, y0 - 54, f"{run.candidate}, seed {run.seed}")]
    for i, name in enumerate(names):
        parts.append(_slanted(x0 + (i + 0.5) * owned * cell, y0 - 4, str(name)))
    for row, label in enumerate(labels):
        for column, weight in enumerate(run.figure(label).weights):
            parts.append(_cell(x0 + column * cell, y0 + row * cell, cell, weight))
    for i in range(len(names) + 1):
        x = x0 + i * owned * cell
        parts.append(_line(x, y0, x, y0 + len(labels) * cell, _INK))
    return parts


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats: from cheap to dear, only what gains."""
    kept: list[tuple[float, float]] = []
    for cost, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or quality > kept[-1][1]:
            kept.append((cost, quality))
    return kept


def _apart(ys: Sequence[float], least: float = 15.0) -> list[float]:
    """Places for labels that want to be at ``ys``, sorted, none closer than ``least``."""
    placed: list[float] = []
    for y in sorted(ys):
        placed.append(max(y, placed[-1] + least) if placed else y)
    return placed


def _widened(low: float, high: float, share: float) -> tuple[float, float]:
    extra = (high - low) * share or max(abs(high) * share, 0.5)
    return low - extra, high + extra


def _ticks(low: float, high: float) -> list[float]:
    """Four to ten round numbers between two."""
    step = 10 ** np.floor(np.log10(high - low))
    for part in (1.0, 0.5, 0.2, 0.1):
        if (high - low) / (step * part) >= 4:
            step *= part
            break
    return [round(float(t), 6) for t in np.arange(np.ceil(low / step), high / step) * step]


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 11) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{_INK}">'
        f"{escape(text)}</text>"
    )


def _slanted(x: float, y: float, text: str) -> str:
    return (
        f'<text transform="translate({x:.1f} {y:.1f}) rotate(-40)" font-size="10" fill="{_INK}">'
        f"{escape(text)}</text>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width:g}"/>'
    )


def _dot(x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_ACCENT}" fill-opacity="0.5"/>'


def _cell(x: float, y: float, side: int, weight: float) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{side}" height="{side}" fill="{_ACCENT}" '
        f'fill-opacity="{weight:.3f}" stroke="{_FAINT}"/>'
    )


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )
