"""Points on a plane, and the front of those that nothing beats in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cpl_edge.report.charts.frame import (
    SHAPES,
    WIDTH,
    Plane,
    axis,
    canvas,
    legend,
    marker,
    words,
)


@dataclass(frozen=True)
class Point:
    """One thing with a cost and a worth.

    Attributes:
        x: cost, positive; less is better.
        y: worth; more is better.
        name: of the thing.
        colour: what the colour stands for, such as the runtime.
        shape: what the shape stands for, such as the precision.
        about: shown when the pointer rests on it.
        counts: whether it may stand on the front; drawn hollow if not.
    """

    x: float
    y: float
    name: str
    colour: str
    shape: str
    about: str
    counts: bool = True


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats, of those that count: at no more cost, worth no less.

    Returns:
        Sorted by cost; of equal points only the first.
    """
    best: list[Point] = []
    able = [point for point in points if point.counts]
    for point in sorted(able, key=lambda p: (p.x, -p.y)):
        if not best or point.y > best[-1].y:
            best.append(point)
    return best


def scatter(points: Sequence[Point], x_title: str, y_title: str) -> str:
    """Draw points, their front as a stepped line and the names of those on it.

    Args:
        points: at least one.
        x_title: of the logarithmic axis of costs.
        y_title: of the axis of worth.
    """
    colours = list(dict.fromkeys(p.colour for p in points))
    shapes = list(dict.fromkeys(p.shape for p in points))
    parts, used = legend(colours if len(colours) > 1 else [], 0)
    if len(shapes) > 1:
        told = ", ".join(f"{SHAPES[i % len(SHAPES)]}: {name}" for i, name in enumerate(shapes))
        parts.append(words(4, used + 12, told, "label"))
        used += 18
    plane = Plane(
        axis(x_title, [p.x for p in points], log=True),
        axis(y_title, [p.y for p in points]),
        top=used + 28,
    )
    parts += plane.draw()
    best = front(points)
    parts.append(_steps(plane, best))
    for point in points:
        x, y = plane.at(point.x, point.y)
        drawn = marker(shapes.index(point.shape), x, y, colours.index(point.colour), point.about)
        parts.append(drawn if point.counts else drawn.replace(" mark", " mark hollow", 1))
    parts += _names(plane, best)
    return canvas(parts, plane.bottom)


def _steps(plane: Plane, best: Sequence[Point]) -> str:
    corners = []
    for before, point in zip([None, *best], best, strict=False):
        if before is not None:
            corners.append(plane.at(point.x, before.y))
        corners.append(plane.at(point.x, point.y))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return f'<polyline class="front" points="{path}"/>'


def _names(plane: Plane, best: Sequence[Point]) -> list[str]:
    """Names above the points, moved apart where they would cover each other."""
    parts: list[str] = []
    taken: list[tuple[float, float, float]] = []
    for point in best:
        x, y = plane.at(point.x, point.y)
        width = 7 * len(point.name)
        left = min(max(x - width / 2, 2), WIDTH - width - 2)
        top = y - 11
        while any(abs(top - t) < 14 and left < b and a < left + width for a, b, t in taken):
            top += 26 if top < y else 14
        taken.append((left, left + width, top))
        parts.append(words(left, top, point.name, "label name"))
    return parts
