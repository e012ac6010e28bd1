"""How fast: builds and peers of one run, their ratios, and how near they come to the roof."""

from __future__ import annotations

from collections.abc import Sequence

from cpl_edge.benchmark.schema import LatencyRun, Ratio, Roof, Row
from cpl_edge.report.charts.bars import Bar, bars
from cpl_edge.report.document import (
    Block,
    Cell,
    Chart,
    Commands,
    Listing,
    Mark,
    Paragraph,
    Section,
    Table,
    columns,
    missing,
    number,
    percent,
    rows,
    text,
)
from cpl_edge.report.formats import build_name
from cpl_edge.report.results import Results

COMMAND = "python -m cpl_edge.benchmark --suite default"
GOALS = {"fp32": 0.75, "int8": 0.60}
"""Share of the machine's peak that a build should reach."""


def latency(results: Results) -> Section:
    """The newest full run, or the newest quick one, marked as such."""
    run = chosen_run(results)
    blocks: list[Block] = []
    if run is None:
        blocks.append(
            Paragraph(
                "Not measured: no latency run is committed. The times of the gates, in the table "
                "of builds, are from a few calls only."
            )
        )
    else:
        blocks.append(Paragraph(_head(run)))
        if run.notes:
            blocks.append(Listing(run.notes))
        blocks.append(rows_table(run))
        if run.ratios:
            blocks.append(_ratios(run.ratios))
        if chart := roofline(run):
            blocks.append(chart)
        blocks.append(_roofs(run.roofline))
    blocks.append(Commands((f"{COMMAND}", f"{COMMAND} --quick")))
    return Section("latency", "Latency", tuple(blocks))


def chosen_run(results: Results) -> LatencyRun | None:
    """The newest full run, else the newest quick one."""
    runs = [found.value for found in results.latency]
    return max(runs, key=lambda run: (run.mode == "full", run.started), default=None)


def row_name(row: Row) -> str:
    """Name of a row; students' builds are called as their cards are."""
    if row.kind == "student" and row.student and row.routing:
        return build_name(row.student, row.target, row.precision, row.routing, row.pinned)
    return row.name


def latency_of(name: str, digest: str, results: Results) -> tuple[float, str] | None:
    """Median milliseconds of ``forward`` on one thread, and where the figure is from.

    Args:
        name: of a build, as its folder is called.
        digest: of its student's weights.
        results: the latency run comes first, then the build's own card.
    """
    run = chosen_run(results)
    for row in run.rows if run else ():
        same = row.digest == digest and row_name(row) == name
        if same and row.entry_point == "forward" and row.threads == 1 and row.p50_ms is not None:
            return row.p50_ms, "latency run"
    for found in reversed(results.builds):
        card = found.value
        if (card.name, card.digest) == (name, digest) and "forward" in card.latency_ms:
            return card.latency_ms["forward"], "gates"
    return None


def rows_table(run: LatencyRun) -> Table:
    """Every row of a run."""
    heads = columns(
        "what",
        "kind",
        "runtime",
        "precision",
        "entry",
        "threads #",
        "p50, ms #",
        "p90, ms #",
        "p99, ms #",
        "queries #",
        "first, ms #",
        "cold load, ms #",
        "peak memory, MB #",
        "file, MB #",
        "GMAC #",
        "parameters #",
        "GOP/s #",
        "share of peak #",
        "remark",
    )
    quick: Mark = "note" if run.mode == "quick" else ""
    cells = []
    for row in run.rows:
        cells.append(
            (
                text(row_name(row)),
                text(row.kind),
                text(row.runtime),
                text(row.precision),
                text(row.entry_point),
                number(row.threads, 0),
                number(row.p50_ms, 2, quick),
                number(row.p90_ms, 2, quick),
                number(row.p99_ms, 2, quick),
                number(row.queries or None, 0, quick),
                number(row.first_ms, 1, quick),
                number(row.cold_load_ms, 1, quick),
                number(row.peak_mb, 0),
                number(row.file_bytes / 1e6),
                number(None if row.macs is None else row.macs / 1e9),
                number(row.parameters, 0),
                number(row.gops, 0, quick),
                percent(row.share_of_peak),
                _remark(row),
            )
        )
    note = "Random weights in peers: only their speed counts."
    if run.mode == "quick":
        note = f"QUICK RUN, figures in italics: too short to be quoted. {note}"
    title = "Latency of builds and peers" + (" (quick run)" if run.mode == "quick" else "")
    return Table(title, heads, rows(cells), note)


def _remark(row: Row) -> Cell:
    if row.refused:
        return text(f"refused: {row.refused}", "bad")
    if not row.complete:
        return text("stopped before the rule was met", "note")
    return text("")


def _head(run: LatencyRun) -> str:
    rule = ", ".join(f"{name} {value:g}" for name, value in run.rule.items())
    quick = "QUICK RUN, too short to be quoted. " if run.mode == "quick" else ""
    processor = run.machine.get("processor") or "a processor of unknown name"
    return (
        f"{quick}Suite {run.suite}, {run.mode} run of {run.started[:10]}, {run.seconds / 60:.0f} "
        f"minutes, on {processor}. Rule: {rule}. Builds and peers took turns, so that a drifting "
        f"machine hurts all alike. Not a phone."
    )


def _ratios(ratios: Sequence[Ratio]) -> Table:
    heads = columns(
        "slower", "faster", "entry", "threads #", "times faster #", "95 % interval", "rounds #"
    )
    cells = [
        (
            text(ratio.a),
            text(ratio.b),
            text(
                ratio.entry_b
                if ratio.entry_a == ratio.entry_b
                else f"{ratio.entry_a} / {ratio.entry_b}"
            ),
            number(ratio.threads, 0),
            number(ratio.ratio, 2),
            Cell(f"{ratio.low:,.2f} to {ratio.high:,.2f}", ratio.low),
            number(ratio.rounds, 0),
        )
        for ratio in ratios
    ]
    note = "Time of the slower over time of the faster, round by round within the run."
    return Table("How many times faster", heads, rows(cells), note)


def roofline(run: LatencyRun) -> Chart | None:
    """Share of the measured peak, for each row that knows its operations."""
    known = [
        row for row in run.rows if row.share_of_peak is not None and row.entry_point == "forward"
    ]
    if not known:
        return None
    known.sort(key=lambda row: -(row.share_of_peak or 0))
    items = [
        Bar(
            f"{row_name(row)}, {row.runtime}, {row.threads} thread{'s' * (row.threads > 1)}",
            {f"of the {row.peak_of} peak": row.share_of_peak or 0},
            f"{row.share_of_peak or 0:.0%}",
            faint=run.mode == "quick",
            goal=GOALS[row.peak_of],
        )
        for row in known
    ]
    best = ", ".join(f"{item.name} {item.shown}" for item in items[:3])
    quick = "Quick run. " if run.mode == "quick" else ""
    return Chart(
        "Roofline: share of the machine's measured peak",
        bars(items, full=1),
        f"{quick}Operations a second over those of the fastest matrix product of the same "
        f"precision and threads, measured in the same run. The mark on a bar is the goal, "
        f"{GOALS['fp32']:.0%} in fp32 and {GOALS['int8']:.0%} in int8. Highest: {best}.",
    )


def _roofs(roofs: Sequence[Roof]) -> Block:
    if not roofs:
        return Paragraph("Peak of this machine: not measured.")
    heads = columns("threads #", "fp32, GFLOP/s #", "int8, GOP/s #", "copy, GB/s #", "kernels")
    cells = [
        (
            number(roof.threads, 0),
            number(roof.fp32_gflops, 0),
            number(roof.int8_gops, 0),
            number(roof.copy_gb_s, 1),
            text("; ".join(filter(None, (roof.fp32_kernel, roof.int8_kernel))))
            if roof.fp32_kernel or roof.int8_kernel
            else missing(),
        )
        for roof in roofs
    ]
    return Table("What this machine can do", heads, rows(cells))
