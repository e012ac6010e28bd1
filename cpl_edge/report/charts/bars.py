"""Horizontal bars with their names above them, so that long names fit on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cpl_edge.report.charts.frame import WIDTH, canvas, legend, line, series, tip, words

_STEP, _THICK = 38, 12


@dataclass(frozen=True)
class Bar:
    """One bar of one or more parts.

    Attributes:
        name: above it.
        parts: colour name -> length, drawn one after the other; none negative.
        shown: the figure at the end of the name's line.
        faint: drawn lightly, for quick runs.
        goal: length that it should reach, marked on it; None for none.
    """

    name: str
    parts: dict[str, float]
    shown: str
    faint: bool = False
    goal: float | None = None


def bars(items: Sequence[Bar], full: float = 0) -> str:
    """Draw bars from zero.

    Args:
        items: at least one.
        full: length of the whole width; at least the longest bar or goal is.
    """
    colours = list(dict.fromkeys(name for item in items for name in item.parts))
    parts, top = legend(colours if len(colours) > 1 else [], 0)
    lengths = [max(sum(item.parts.values()), item.goal or 0) for item in items]
    full = max(full, *lengths, 1e-12)
    room = WIDTH - 4
    top += 2
    bottom = top + _STEP * len(items)
    for index, item in enumerate(items):
        y = top + _STEP * index
        parts.append(words(2, y + 13, item.name, "label"))
        parts.append(words(WIDTH - 2, y + 13, item.shown, "label value", "end"))
        parts.append(f'<rect class="rail" x="2" y="{y + 19}" width="{room}" height="{_THICK}"/>')
        x = 2.0
        for name, length in item.parts.items():
            width = room * length / full
            kind = series(colours.index(name)) + (" faint" if item.faint else "")
            about = tip(f"{item.name}, {name}: {item.shown}" if len(item.parts) == 1 else name)
            parts.append(
                f'<rect class="{kind}" x="{x:.1f}" y="{y + 19}" width="{width:.1f}" '
                f'height="{_THICK}">{about}</rect>'
            )
            x += width
        if item.goal is not None:
            x = 2 + room * item.goal / full
            parts.append(line(x, y + 15, x, y + 23 + _THICK, "goal"))
    return canvas(parts, bottom + 4)
