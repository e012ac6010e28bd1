"""Lines over a quantity: training curves, growth with the size of a photo, history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cpl_edge.report.charts.frame import Plane, axis, canvas, legend, series, tip


def lines(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    x_title: str,
    y_title: str,
    log: bool = False,
    zero: bool = False,
) -> str:
    """Draw one line for each name, with a dot for each measurement.

    Args:
        curves: name -> (x, y) in the order of x; at least one point in all.
        x_title: quantity and unit.
        y_title: quantity and unit.
        log: both axes logarithmic, so that all values must be positive.
        zero: begin the y axis at 0.
    """
    points = [point for curve in curves.values() for point in curve]
    parts, top = legend(list(curves) if len(curves) > 1 else [], 0)
    plane = Plane(
        axis(x_title, [x for x, _ in points], log=log),
        axis(y_title, [y for _, y in points], log=log, zero=zero and not log),
        top=top + 28,
        height=240,
    )
    parts += plane.draw()
    for index, (name, curve) in enumerate(curves.items()):
        kind = series(index)
        places = [plane.at(x, y) for x, y in curve]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="{kind} line" points="{path}"/>')
        for (x, y), (px, py) in zip(curve, places, strict=True):
            about = tip(f"{name}: {y:.4g} at {x:,.4g}")
            parts.append(
                f'<circle class="{kind}" cx="{px:.1f}" cy="{py:.1f}" r="3">{about}</circle>'
            )
    return canvas(parts, plane.bottom)
