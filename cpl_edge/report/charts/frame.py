"""What every chart has: a canvas, scales with round ticks, axes and a legend.

Canvases are 480 units wide, which is a phone's width at about three quarters of the text size and
half a desktop page at full size. Colours and text sizes come from the page's style sheet, through
the classes ``s0`` to ``s7`` (series), ``axis``, ``grid``, ``label`` and ``goal``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 480
SERIES = 8
"""How many colours there are; further series begin again."""

_LETTER = 6.9  # width of a letter of 12 units, on average


@dataclass(frozen=True)
class Axis:
    """One direction of a plane.

    Attributes:
        title: quantity and unit.
        low: smallest value shown.
        high: largest value shown.
        ticks: values that get a line and a number.
        log: whether equal distances are equal ratios.
    """

    title: str
    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high end."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def axis(title: str, values: Sequence[float], log: bool = False, zero: bool = False) -> Axis:
    """An axis with round ticks that holds all values.

    Args:
        title: quantity and unit.
        values: at least one; all positive if ``log``.
        log: logarithmic.
        zero: begin at 0 rather than near the smallest value; not with ``log``.
    """
    low, high = min(values), max(values)
    if log:
        ticks = _log_ticks(low / 1.1, high * 1.1)
        return Axis(title, ticks[0], ticks[-1], tuple(ticks), log=True)
    if zero:
        low, high = min(0.0, low), max(0.0, high)
    if low == high:
        low, high = (0.0, 1.0) if low == 0 else (low - abs(low) * 0.1, high + abs(high) * 0.1)
    step = _round_step((high - low) / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [i * step for i in range(first, last + 1)]
    return Axis(title, ticks[0], ticks[-1], tuple(ticks))


def _round_step(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9))


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from the last below ``low`` to the first above ``high``, some eight of them."""
    decades = math.log10(high / low)
    steps = (1,) if decades > 2.5 else (1, 2, 5) if decades > 1.2 else (1, 1.5, 2, 3, 5, 7)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [m * 10.0**d for d in range(first, last + 1) for m in steps]
    start = max(i for i, tick in enumerate(every) if tick <= low * (1 + 1e-9))
    end = min(i for i, tick in enumerate(every) if tick >= high * (1 - 1e-9))
    return every[start : end + 1]


def tick_text(value: float) -> str:
    """A tick's number, without digits that say nothing."""
    if value and abs(value) < 0.01:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:,.2f}".rstrip("0").rstrip(".") if abs(value) < 100 else f"{value:,.0f}"


@dataclass(frozen=True)
class Plane:
    """A rectangle with two axes on a canvas of :data:`WIDTH` units."""

    x: Axis
    y: Axis
    top: float
    height: float = 300
    left: float = 52
    right: float = 14

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies on the canvas."""
        width = WIDTH - self.left - self.right
        return self.left + width * self.x.place(x), self.top + self.height * (1 - self.y.place(y))

    @property
    def bottom(self) -> float:
        """Height of the canvas: below the numbers and title of the x axis."""
        return self.top + self.height + 40

    def draw(self) -> list[str]:
        """Grid, numbers and titles."""
        floor, edge = self.top + self.height, WIDTH - self.right
        parts = []
        for tick in self.y.ticks:
            y = self.at(self.x.low, tick)[1]
            parts.append(line(self.left, y, edge, y, "grid"))
            parts.append(words(self.left - 6, y + 4, tick_text(tick), "axis", "end"))
        for tick in self.x.ticks:
            x = self.at(tick, self.y.low)[0]
            parts.append(line(x, floor, x, floor + 4, "grid"))
            parts.append(words(x, floor + 17, tick_text(tick), "axis", "middle"))
        parts.append(words(edge, floor + 35, self.x.title, "axis title", "end"))
        parts.append(words(4, self.top - 10, self.y.title, "axis title"))
        return parts


def legend(names: Sequence[str], top: float) -> tuple[list[str], float]:
    """Colour patches with their names, as many to a line as fit.

    Returns:
        The parts, and the height that they take.
    """
    parts, x, y = [], 4.0, top + 12
    for index, name in enumerate(names):
        width = 26 + _LETTER * len(name)
        if x > 4 and x + width > WIDTH:
            x, y = 4.0, y + 20
        parts.append(
            f'<rect class="{series(index)}" x="{x:g}" y="{y - 9:g}" width="10" height="10" rx="2"/>'
        )
        parts.append(words(x + 15, y, name, "label"))
        x += width
    return parts, y - top + 10 if names else 0.0


def series(index: int) -> str:
    """Class of a series' colour."""
    return f"s{index % SERIES}"


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def words(x: float, y: float, content: str, kind: str, anchor: str = "start") -> str:
    """One line of text."""
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(content)}</text>"
    )


def tip(content: str) -> str:
    """What a browser shows when the pointer rests on the enclosing mark."""
    return f"<title>{escape(content)}</title>"


def canvas(parts: Sequence[str], height: float) -> str:
    """The whole drawing. Its words stand beside it, so readers of text skip what is inside."""
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:.0f}" aria-hidden="true" '
        f'focusable="false">{"".join(parts)}</svg>'
    )


def marker(shape: int, x: float, y: float, index: int, about: str) -> str:
    """A mark of one of five shapes around a point, in the colour of a series."""
    return _SHAPES[shape % len(_SHAPES)](x, y, series(index), tip(about))


def _polygon(*offsets: tuple[float, float]) -> Callable[[float, float, str, str], str]:
    def draw(x: float, y: float, kind: str, title: str) -> str:
        points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in offsets)
        return f'<polygon class="{kind} mark" points="{points}">{title}</polygon>'

    return draw


_SHAPES: tuple[Callable[[float, float, str, str], str], ...] = (
    lambda x, y, kind, title: (
        f'<circle class="{kind} mark" cx="{x:.1f}" cy="{y:.1f}" r="5.5">{title}</circle>'
    ),
    _polygon((-5, -5), (5, -5), (5, 5), (-5, 5)),
    _polygon((0, -6.5), (6, 5), (-6, 5)),
    _polygon((0, -7), (7, 0), (0, 7), (-7, 0)),
    _polygon((0, 6.5), (6, -5), (-6, -5)),
)
SHAPES = ("circle", "square", "triangle", "diamond", "triangle down")
