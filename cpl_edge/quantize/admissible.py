"""Ranges that integer kernels take: the ratios of scales that XNNPACK refuses are widened away.

XNNPACK builds no operator whose scales lie too far apart, and says so only when a file is run
("failed to prepare"). Its limits, for scales s (range / 255)::

    convolution      s_in * s_weight / s_out < 2^8        (src/operators/convolution-nhwc.c)
    addition         2^-10 <= s_in / s_out < 2^8          (src/operators/binary-elementwise-nd.c)
    multiplication   2^-16 <= s_a * s_b / s_out < 2^8     (src/operators/binary-elementwise-nd.c)

A trained student crosses them where a block is silent: pinned to blur, no value passed the ReLU of
a middle block and its range was empty. Every limit is kept by widening, which loses nothing that
counts: an output step finer than 1/128 of what its accumulator counts in holds no information, and
neither does an addend whose whole range is half a step of the sum.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from cpl_edge.models.student import Student
from cpl_edge.quantize.ranges import Ranges
from cpl_edge.quantize.simulation import Simulation

COARSEST = 2.0**7
"""Largest ratio of what an operator reads to what it makes: half of what XNNPACK takes."""

FINEST = 2.0**-9
"""Smallest ratio of an addend's scale to the sum's: twice what XNNPACK takes."""

_STEPS, _WEIGHT_STEPS = 255, 127


class Step(NamedTuple):
    """An operator: the point that it makes, those that it reads, and what it does."""

    point: str
    reads: tuple[str, ...]
    kind: str


def admissible(student: Student, ranges: Ranges) -> Ranges:
    """Ranges whose scales integer kernels take.

    Args:
        student: in evaluation mode, folded as it will be exported.
        ranges: of every point, see `cpl_edge.quantize.ranges`.

    Returns:
        The same, wider where two scales were too far apart.
    """
    widened = dict(ranges)
    steps = operators(Simulation(student).points)
    weights = {s.point: _largest_scale(student, s.point) for s in steps if s.kind == "conv"}

    def scale(point: str) -> float:
        low, high = widened[point]
        return (high - low) / _STEPS

    def widen(point: str, least: float) -> bool:
        """Give a point a scale of at least this; whether that changed anything."""
        if (found := scale(point)) >= least * (1 - 1e-6):
            return False
        low, high = widened[point]
        # An empty range lies behind a ReLU that lets nothing through.
        widened[point] = (low * least / found, high * least / found) if found else (0, 255 * least)
        return True

    changed = True
    while changed:  # ends: ranges only grow, and the widest of them never does
        changed = False
        for point, reads, kind in steps:
            if kind == "conv":
                changed |= widen(point, scale(reads[0]) * weights[point] / COARSEST)
            elif kind == "mul":
                changed |= widen(point, scale(reads[0]) * scale(reads[1]) / COARSEST)
            else:
                for addend in reads:
                    changed |= widen(point, scale(addend) / COARSEST)
                    changed |= widen(addend, scale(point) * FINEST)
    return widened


def operators(points: list[str]) -> list[Step]:
    """The operators that make the points of a student, in the order of execution."""
    steps: list[Step] = []
    before = stream = skip = "input"
    for point in points:
        site, _, part = point.partition(":")
        if point == "input" or part in ("scale", "shift"):
            continue
        if part == "product":
            steps.append(Step(point, (before, f"{site}:scale"), "mul"))
        elif part == "sum":
            steps.append(Step(point, (before, f"{site}:shift"), "add"))
        elif site == "sum":
            steps.append(Step(point, ("input", before), "add"))
        elif site == "skip":
            steps.append(Step(point, (before, skip), "add"))
        elif site.endswith(".sum"):
            steps.append(Step(point, (stream, before), "add"))
        else:
            steps.append(Step(point, (before,), "conv"))
            stream = before if site.endswith(".expand") else stream
            skip = before if site == "down" else skip
        before = point
    return steps


def _largest_scale(student: Student, site: str) -> float:
    """Scale of the output channel with the largest weights."""
    module = student.get_submodule(site)
    conv = module[0] if isinstance(module, nn.Sequential) else module
    assert isinstance(conv, nn.Conv2d)
    return float(conv.weight.detach().abs().max()) / _WEIGHT_STEPS
