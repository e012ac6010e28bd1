"""From timed entries to the rows, kernels and ratios of a result."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from cpl_edge.benchmark.builds import CARD_PIXELS, file_size, student_facts
from cpl_edge.benchmark.peers import KEY as PEER_KEY
from cpl_edge.benchmark.process import Refused, Worker
from cpl_edge.benchmark.ratios import interval, round_ratios
from cpl_edge.benchmark.roofline import Product
from cpl_edge.benchmark.rounds import Entry
from cpl_edge.benchmark.schema import Kernel, Ratio, Roof, Row
from cpl_edge.runtimes.protocol import SUFFIXES

INTEGER = ("dynamic", "w8a8", "mixed")
"""Precisions whose work is of 8 bits, so whose roof is int8's."""


def ratios(rows: Sequence[Row]) -> Iterator[Ratio]:
    """How many times faster each student's build answers than each peer."""
    timed = [row for row in rows if row.rounds_ms and row.entry_point != "route"]
    for a in (row for row in timed if row.kind == "peer"):
        for b in (row for row in timed if row.kind == "student" and row.threads == a.threads):
            group = round_ratios(a.rounds_ms, b.rounds_ms)
            if not len(group):
                continue
            found = interval(group)
            yield Ratio(
                a=a.name,
                b=b.name,
                entry_a=a.entry_point,
                entry_b=b.entry_point,
                threads=a.threads,
                ratio=found.ratio,
                low=found.low,
                high=found.high,
                rounds=found.rounds,
            )


def kernel_of(product: Product, threads: int, entry: Entry) -> Kernel:
    """A kernel of the roofline with its rate."""
    p50 = float(np.median(entry.times_ms))
    return Kernel(
        name=product.name,
        runtime=product.runtime,
        precision=product.precision,
        threads=threads,
        macs=product.macs,
        queries=len(entry.times_ms),
        p50_ms=round(p50, 4),
        gops=round(2 * product.macs / p50 / 1e6, 2),
    )


def described(name: str, kind: str, path: Path, where: str, info: dict[str, Any]) -> dict[str, Any]:
    """The columns that need no measurement."""
    runtime = SUFFIXES.get(path.suffix.lower(), "unknown")
    is_peer = kind == "peer"
    return {
        "name": name,
        "kind": kind,
        "path": where,
        "digest": info.get("digest", ""),
        "student": info.get("student"),
        "target": info.get("target", runtime),
        "runtime": runtime,
        "precision": info.get("precision", "fp32" if is_peer else "unknown"),
        "routing": info.get("routing"),
        "pinned": info.get("pinned"),
        "height": info.get("height"),
        "width": info.get("width"),
        "file_bytes": file_size(path) if path.exists() else 0,
        "peak_of": "int8" if info.get("precision") in INTEGER else "fp32",
    }


def rows_of(
    base: dict[str, Any], threads: int, held: Worker | str | None, entries: Sequence[Entry]
) -> Iterator[Row]:
    """One row for each entry point of a file, or one that says why there is none."""
    if not isinstance(held, Worker):
        yield Row(**base, entry_point="forward", threads=threads, refused=held or "not opened")
        return
    path, info = held.subject.path, held.hello["info"]
    if info is not None:
        base |= described(base["name"], "student", path, base["path"], info)
        parameters, macs = student_facts(info["digest"], path)
        if macs is not None:
            macs = round(macs * info["height"] * info["width"] / CARD_PIXELS)
    else:
        peer = json.loads(held.hello["metadata"][PEER_KEY])
        parameters, macs = peer["parameters"], peer["macs"]
        base |= {"height": peer["height"], "width": peer["width"]}
        base |= {"digest": sha256(path.read_bytes()).hexdigest()}
    try:
        peak: float | None = round(held.peak_mb(), 1)
    except Refused:
        peak = None
    for entry in (entry for entry in entries if entry.worker is held):
        own = macs if entry.name != "route" else None
        yield Row(
            **base,
            entry_point=entry.name,
            threads=threads,
            cold_load_ms=round(held.hello["load_ms"], 3),
            first_ms=round(held.hello["first_ms"][entry.name], 3),
            baseline_mb=round(held.hello["baseline_mb"], 1),
            peak_mb=peak,
            macs=own,
            parameters=parameters,
            refused=entry.refused,
            **_timed(entry, own),
        )


def _timed(entry: Entry, macs: int | None) -> dict[str, Any]:
    """The columns of time; none where a process died before its first counted query."""
    times = entry.times_ms
    if not times or entry.refused is not None:
        return {}
    p50, p90, p99 = (float(p) for p in np.percentile(times, [50, 90, 99]))
    return {
        "queries": len(times),
        "seconds": round(entry.spent, 3),
        "complete": entry.complete,
        "p50_ms": round(p50, 4),
        "p90_ms": round(p90, 4),
        "p99_ms": round(p99, 4),
        "mean_ms": round(float(np.mean(times)), 4),
        "rounds_ms": tuple(None if ms is None else round(ms, 4) for ms in entry.medians_ms),
        "cpu_over_wall": round(entry.cpu_seconds / entry.spent, 3),
        "gops": None if macs is None else round(2 * macs / p50 / 1e6, 2),
    }


def with_share(row: Row, roofline: Sequence[Roof]) -> Row:
    """The row with its share of the roof at its number of threads."""
    roof = next((roof for roof in roofline if roof.threads == row.threads), None)
    peak = None if roof is None else roof.int8_gops if row.peak_of == "int8" else roof.fp32_gflops
    if peak is None or row.gops is None:
        return row
    return row.model_copy(update={"share_of_peak": round(row.gops / peak, 4)})
