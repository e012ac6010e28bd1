"""What a build's time is worth beside its own student in fp32, from the latency runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cpl_edge.benchmark.schema import LatencyRun, Row
from cpl_edge.report.formats import BuildCard
from cpl_edge.report.results import Results

THREADS = 1


@dataclass(frozen=True)
class Time:
    """The time of a build.

    Attributes:
        ms: median of a query with one thread.
        speed_up: time of the same student in fp32 on the same target over it, in the same run;
            None if that build was not in the run.
        file: of the run.
    """

    ms: float
    speed_up: float | None
    file: str


def time_of(card: BuildCard, results: Results) -> Time | None:
    """Time of a build in the newest run that has it; None if none has.

    Quick runs are too short to be quoted and do not count.

    Args:
        card: of the build; its weights, not its name, decide which rows are its own.
        results: with the latency runs.
    """
    for file, run in _newest_first(results):
        row = _row(run, card, card.recipe.precision)
        if row is not None and row.p50_ms is not None:
            exact = _row(run, card, "fp32")
            return Time(
                row.p50_ms,
                exact.p50_ms / row.p50_ms if exact is not None and exact.p50_ms else None,
                file,
            )
    return None


def _newest_first(results: Results) -> Iterator[tuple[str, LatencyRun]]:
    runs = [found for found in results.latency if found.value.mode == "full"]
    for found in sorted(runs, key=lambda found: found.value.started, reverse=True):
        yield found.file, found.value


def _row(run: LatencyRun, card: BuildCard, precision: str) -> Row | None:
    """A measured row of a build, or of the same build in another precision.

    Few builds are measured pinned in fp32; then the one that routes by itself stands for it.
    """
    recipe = card.recipe
    rows = [
        row
        for row in run.rows
        if (row.digest, row.target, row.precision) == (card.digest, recipe.target, precision)
        and (row.height, row.width, row.threads) == (*recipe.size, THREADS)
        and row.entry_point in ("forward", "restore")
        and row.p50_ms is not None
    ]
    alike = [r for r in rows if (r.routing, r.pinned) == (recipe.routing, recipe.degradation)]
    if not alike and precision == "fp32" != recipe.precision:
        alike = [row for row in rows if (row.routing, row.entry_point) == ("auto", "forward")]
    return min(alike, key=lambda row: row.entry_point, default=None)  # forward before restore
