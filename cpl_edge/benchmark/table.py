"""Results as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cpl_edge.benchmark.compare import Change
from cpl_edge.benchmark.schema import LatencyRun, PhotoRun, Row

NOT_MEASURED = "-"
NAME_WIDTH = 22


def print_latency(run: LatencyRun, console: Console) -> None:
    """Print a run: rows by threads and time, roofs, ratios to the slowest peer, refusals, notes."""
    _notes(run.notes, console)
    for threads in sorted({row.threads for row in run.rows}):
        rows = [r for r in run.rows if r.threads == threads and r.refused is None]
        if rows:
            console.print(latency_table(run, threads, rows))
    least = min(row.threads for row in run.rows)
    if opened := [r for r in run.rows if r.threads == least and r.peak_mb is not None]:
        console.print(size_table(opened))
    if run.roofline:
        console.print(roof_table(run))
    if run.ratios:
        console.print(ratio_table(run))
    refused = dict.fromkeys((row.name, row.refused) for row in run.rows if row.refused is not None)
    for name, reason in refused:
        _line(f"not measured: {name}: {reason}", console)


def latency_table(run: LatencyRun, threads: int, rows: Sequence[Row]) -> Table:
    """One line for each file, slowest first."""
    table = _table(f"{run.suite}, {run.mode}: {_threads(threads)}, milliseconds a query")
    table.add_column("file", overflow="fold", min_width=NAME_WIDTH)
    for name in ("p50", "p90", "p99", "queries", "cpu/wall", "of peak"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in sorted(rows, key=lambda row: -(row.p50_ms or 0)):
        share = NOT_MEASURED
        if row.share_of_peak is not None:
            share = f"{row.share_of_peak:.0%} {row.peak_of}"
        table.add_row(
            _label(row),
            *(_number(v) for v in (row.p50_ms, row.p90_ms, row.p99_ms)),
            f"{row.queries}" + ("" if row.complete else "*"),
            _number(row.cpu_over_wall),
            share,
        )
    if not all(row.complete for row in rows):
        table.caption = "* fewer queries and seconds than the suite asks for: the run was limited"
    return table


def size_table(rows: Sequence[Row]) -> Table:
    """What each file costs to hold and to open, at one number of threads, largest first."""
    table = _table("size, memory of a process of its own, and opening in milliseconds")
    table.add_column("file", overflow="fold", min_width=NAME_WIDTH)
    for name in ("MB", "M par.", "GMAC", "peak MB", "own MB", "load", "first"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in sorted(rows, key=lambda row: -row.file_bytes):
        own = None
        if row.peak_mb is not None and row.baseline_mb is not None:
            own = row.peak_mb - row.baseline_mb  # without Python and the runtime's library
        table.add_row(
            _label(row),
            _number(row.file_bytes / 1e6),
            _number(None if row.parameters is None else row.parameters / 1e6),
            _number(None if row.macs is None else row.macs / 1e9),
            *(_number(v) for v in (row.peak_mb, own, row.cold_load_ms, row.first_ms)),
        )
    return table


def roof_table(run: LatencyRun) -> Table:
    """The machine's ceilings."""
    table = _table("what the machine can do")
    table.add_column("threads", justify="right")
    table.add_column("fp32 GFLOP/s", overflow="fold")
    table.add_column("int8 GOP/s", overflow="fold")
    table.add_column("copy GB/s", justify="right")
    for roof in run.roofline:
        table.add_row(
            str(roof.threads),
            f"{_number(roof.fp32_gflops)}  {roof.fp32_kernel or ''}",
            f"{_number(roof.int8_gops)}  {roof.int8_kernel or ''}",
            _number(roof.copy_gb_s),
        )
    return table


def ratio_table(run: LatencyRun) -> Table:
    """How many times faster each build answers than each peer, with intervals."""
    table = _table("times as fast as a peer (95 % interval)")
    table.add_column("build", overflow="fold")
    peers = list(dict.fromkeys(ratio.a for ratio in run.ratios))
    for peer in peers:
        table.add_column(peer, justify="right", no_wrap=True)
    cells = {(r.b, r.threads, r.a): r for r in run.ratios}
    for name, threads in dict.fromkeys((r.b, r.threads) for r in run.ratios):
        line = []
        for peer in peers:
            r = cells.get((name, threads, peer))
            words = f"{r.ratio:.4g}\n{r.low:.4g}..{r.high:.4g}" if r else NOT_MEASURED
            line.append(words)
        table.add_row(f"{name}, {_threads(threads)}", *line)
    return table


def print_changes(changes: Sequence[Change], console: Console) -> None:
    """Print a comparison of two runs."""
    table = _table("time of the second run over the first (95 % interval)")
    for name in ("build", "verdict"):
        table.add_column(name, overflow="fold")
    for name in ("threads", "ratio", "interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for change in changes:
        found = change.found
        table.add_row(
            change.label,
            change.verdict,
            str(change.threads),
            f"{found.ratio:.3f}" if found else NOT_MEASURED,
            f"{found.low:.3f}..{found.high:.3f}" if found else NOT_MEASURED,
        )
    console.print(table)


def print_photos(run: PhotoRun, console: Console) -> None:
    """Print a run of whole photos, and how its cost grows."""
    _notes(run.notes, console)
    table = _table(f"{run.model}: whole photos, {_threads(run.rows[0].threads)}")
    for name in ("photo", "MP", "tiles", "s", "s/MP", "/net", "peak MB", "photo MB", "own MB"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in run.rows:
        table.add_row(
            f"{row.width}x{row.height}",
            f"{row.megapixels:.1f}",
            str(row.tiles),
            _number(row.total_seconds),
            _number(row.total_seconds / row.megapixels),
            f"{row.ratio:.3f}",
            _number(row.peak_mb),
            _number(row.photo_mb),
            _number(row.working_mb),
        )
    if run.time_exponent is not None:
        table.caption = (
            f"time grows as megapixels^{run.time_exponent:.2f}; working memory by "
            f"{run.memory_slope:.2f} MB for each megapixel"
        )
    console.print(table)
    if run.routing:
        console.print(routing_table(run))


def routing_table(run: PhotoRun) -> Table:
    """What routing once per photo changes."""
    table = _table("every tile routed alone, against once per photo (steps in 1/255)")
    table.add_column("photo", overflow="fold")
    table.add_column("selects", no_wrap=True)
    for name in ("tiles", "else", "seam", "inside", "worst", "dB", "dB tile"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in run.routing:
        table.add_row(
            f"{row.photo}, {row.label}",
            row.selected,
            str(row.tiles),
            f"{row.disagreeing:.0%}",
            *(f"{v:.1f}" for v in (row.seam_step, row.inside_step, row.worst_seam)),
            *(f"{v:.2f}" for v in (row.psnr_photo, row.psnr_tile)),
        )
    table.caption = "else: tiles that select something else; dB: PSNR of photo-level routing"
    return table


def _threads(count: int) -> str:
    return f"{count} thread" + "s" * (count > 1)


def _label(row: Row) -> str:
    return row.name if row.entry_point == "forward" else f"{row.name} {row.entry_point}"


def _table(title: str) -> Table:
    return Table(
        title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False
    )


def _notes(notes: Sequence[str], console: Console) -> None:
    for note in notes:
        _line(f"note: {note}", console)


def _line(text: str, console: Console) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _number(value: float | None) -> str:
    """Three digits that count, without an exponent."""
    if value is None:
        return NOT_MEASURED
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
