"""What each mode of the verb does: check, measure, write, print."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from cpl_edge.benchmark.builds import find_builds
from cpl_edge.benchmark.compare import compare
from cpl_edge.benchmark.latency import run_latency
from cpl_edge.benchmark.photo import measure_photo
from cpl_edge.benchmark.photos import run_photos
from cpl_edge.benchmark.results import check_results, write_result
from cpl_edge.benchmark.schema import LatencyRun, PhotoRun, read_run
from cpl_edge.benchmark.suites import load_latency_suite
from cpl_edge.benchmark.table import print_changes, print_latency, print_photos
from cpl_edge.errors import UserError
from cpl_edge.machine import machine, versions
from cpl_edge.runtimes import find_model, open_runtime


@dataclass(frozen=True)
class Done:
    """What a mode leaves.

    Attributes:
        values: for ``--json``.
        failure: why the command fails with exit code 1, or None.
    """

    values: Any
    failure: str | None = None


def latency(
    suite: str,
    files: Sequence[str],
    *,
    threads: int | None,
    builds: Path,
    only_files: bool,
    peers: bool,
    quick: bool,
    minutes: float | None,
    results: Path,
) -> Done:
    """``--suite``: time builds, peers and the machine."""
    chosen = load_latency_suite(suite)
    if threads is not None:
        chosen = chosen.model_copy(update={"threads": (threads,)})
    if not peers:
        chosen = chosen.model_copy(update={"peers": ()})
    found = find_builds(None if only_files else builds, files)
    check_results(results)
    run = run_latency(chosen, found, quick=quick, minutes=minutes, cache=builds / "peers", say=_say)
    return _finish(run, results)


def one_photo(size: str, model: str, threads: int) -> Done:
    """``--photo``: one photo in a fresh process."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)
    if match is None or "0" in match.groups():
        raise UserError(f"{size!r} is no size: give --photo WIDTHxHEIGHT, such as 4000x3000")
    path = _checked(model, threads)
    cost = measure_photo(path, int(match[1]), int(match[2]), threads)
    print(f"{path}, {threads} threads, {cost.width}x{cost.height} pixels, {cost.tiles} tiles")
    print(f"total      {cost.total_seconds:8.2f} s")
    print(f"network    {cost.network_seconds:8.2f} s   total is {cost.ratio:.3f} times this")
    print(f"peak       {cost.peak_mb:8.0f} MB  {cost.beyond_mb:.0f} MB beyond the runtime's own")
    measured = asdict(cost) | {"ratio": cost.ratio, "beyond_mb": cost.beyond_mb}
    return Done({"model": path.name} | measured | {"machine": machine(), "versions": versions()})


def photo_suite(suite: str, model: str, threads: int, results: Path, quick: bool) -> Done:
    """``--photo-suite``: photos of several sizes, and how routing is done."""
    chosen = load_latency_suite(suite)
    path = _checked(model, threads)
    check_results(results)
    return _finish(run_photos(chosen, path, threads, quick=quick), results)


def compare_results(a: Path, b: Path, threshold: float, reference: str | None) -> Done:
    """``--compare``: what became of each build between two results."""
    first, second = read_run(a, LatencyRun), read_run(b, LatencyRun)
    changes = compare(first, second, threshold, reference)
    for path, run in ((a, first), (b, second)):
        if run.mode == "quick":
            print(f"note: {path.name} is a quick run: too short to be quoted")
    print_changes(changes, Console())
    slower = [change.label for change in changes if change.is_regression]
    failure = f"slower by more than {threshold:g} times: {', '.join(slower)}" if slower else None
    values = [
        {
            "name": change.name,
            "entry_point": change.entry_point,
            "threads": change.threads,
            "verdict": change.verdict,
            **(asdict(change.found) if change.found else {}),
        }
        for change in changes
    ]
    return Done(values, failure)


def _checked(model: str, threads: int) -> Path:
    path = find_model(model)
    open_runtime(path, threads).close()  # what is wrong with it is told here, in one line
    return path


def _finish(run: LatencyRun | PhotoRun, results: Path) -> Done:
    path = write_result(run, results)
    console = Console()
    if isinstance(run, LatencyRun):
        print_latency(run, console)
    else:
        print_photos(run, console)
    print(f"written to {path}")
    return Done(run.model_dump(mode="json"))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
