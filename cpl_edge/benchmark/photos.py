"""Whole photos of several sizes: how time and memory grow, and what routing once per photo does.

Every photo is restored in a process of its own (`photo.py`), which is repeated; medians count.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from cpl_edge.benchmark.fingerprint import busy_note, fingerprint
from cpl_edge.benchmark.photo import MEGABYTE, PhotoCost, measure_photo
from cpl_edge.benchmark.schema import PhotoRow, PhotoRun
from cpl_edge.benchmark.suites import LatencySuite
from cpl_edge.benchmark.tile_routing import can_be_told, routing_rows
from cpl_edge.cli import track
from cpl_edge.errors import UserError
from cpl_edge.machine import versions
from cpl_edge.runtimes import open_runtime

QUICK_MEGAPIXELS = 4.5
"""Largest photo of a quick run, which also repeats nothing."""


def run_photos(suite: LatencySuite, model: Path, threads: int, *, quick: bool = False) -> PhotoRun:
    """Measure a suite's photos.

    Args:
        suite: with a table ``[photos]``.
        model: model file.
        threads: CPU threads.
        quick: one process for each size up to :data:`QUICK_MEGAPIXELS`, or for the smallest.

    Raises:
        UserError: the suite has no photos.
        CplEdgeError: a process failed.
    """
    if suite.photos is None:
        raise UserError(f"suite {suite.name!r} has no photos: add a table [photos] with sizes")
    started = datetime.now(UTC).isoformat(timespec="seconds")
    machine = fingerprint()
    notes = [note for note in [busy_note(machine)] if note]
    sizes, repeats = suite.photos.pixels, suite.photos.repeats
    if quick:
        notes.append("a quick run: too short to be quoted")
        small = [(w, h) for w, h in sizes if w * h <= QUICK_MEGAPIXELS * 1e6]
        sizes, repeats = small or sizes[:1], 1
    # Rounds over all sizes, so that a drifting machine hurts all alike.
    parts = [size for _ in range(repeats) for size in sizes]
    costs: dict[tuple[int, int], list[PhotoCost]] = {size: [] for size in sizes}
    for width, height in track(parts, "photos"):
        costs[width, height].append(measure_photo(model, width, height, threads))
    rows = [photo_row(found) for found in costs.values()]
    routing = []
    with closing(open_runtime(model, threads)) as runtime:
        digest = runtime.info.digest
        if suite.photos.routing and can_be_told(runtime.info):
            routing = routing_rows(runtime, suite.photos.routing)
        elif suite.photos.routing:
            notes.append("routing was not compared: this file cannot be told what to select")
    return PhotoRun(
        format=1,
        kind="photos",
        suite=suite.name,
        mode="quick" if quick else "full",
        started=started,
        model=model.name,
        digest=digest,
        machine=machine,
        versions=versions(),
        rows=tuple(rows),
        time_exponent=time_exponent(rows),
        memory_slope=memory_slope(rows),
        routing=tuple(routing),
        notes=tuple(notes),
    )


def photo_row(costs: Sequence[PhotoCost]) -> PhotoRow:
    """The medians of one size."""

    def median(values: Iterable[float], digits: int) -> float:
        return round(statistics.median(values), digits)

    first = costs[0]
    photo_mb = 2 * first.width * first.height * 3 / MEGABYTE
    beyond = median((cost.beyond_mb for cost in costs), 2)
    return PhotoRow(
        width=first.width,
        height=first.height,
        megapixels=first.width * first.height / 1e6,
        tiles=first.tiles,
        threads=first.threads,
        total_seconds=median((cost.total_seconds for cost in costs), 4),
        network_seconds=median((cost.network_seconds for cost in costs), 4),
        ratio=median((cost.ratio for cost in costs), 4),
        baseline_mb=median((cost.baseline_mb for cost in costs), 2),
        peak_mb=median((cost.peak_mb for cost in costs), 2),
        beyond_mb=beyond,
        photo_mb=round(photo_mb, 2),
        working_mb=round(beyond - photo_mb, 2),
        repeats=len(costs),
    )


def time_exponent(rows: Sequence[PhotoRow]) -> float | None:
    """E of the best fit of total time to megapixels^e, by least squares of logarithms."""
    if len({row.megapixels for row in rows}) < 2:
        return None
    pixels, seconds = (
        np.log([getattr(row, name) for row in rows]) for name in ("megapixels", "total_seconds")
    )
    return round(float(np.polyfit(pixels, seconds, 1)[0]), 4)


def memory_slope(rows: Sequence[PhotoRow]) -> float | None:
    """Working memory for each further megapixel, in 10^6 bytes, by least squares."""
    if len({row.megapixels for row in rows}) < 2:
        return None
    pixels, working = [row.megapixels for row in rows], [row.working_mb for row in rows]
    return round(float(np.polyfit(pixels, working, 1)[0]), 4)
