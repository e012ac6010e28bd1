"""Whole photos: how time and memory grow, and what routing once per photo changes."""

from __future__ import annotations

from dataclasses import dataclass

from cpl_edge.benchmark.schema import PhotoRun, RoutingRow
from cpl_edge.report.charts.lines import lines
from cpl_edge.report.document import (
    Block,
    Chart,
    Commands,
    Listing,
    Paragraph,
    Section,
    Table,
    columns,
    number,
    percent,
    rows,
    text,
)
from cpl_edge.report.results import Results

_COMMANDS = (
    "python -m cpl_edge.benchmark --photo-suite",
    "python -m cpl_edge.benchmark --photo 4000x3000 --threads 2",
)


@dataclass(frozen=True)
class PhotoRow:
    """One restored photo, of a run or alone; units as in :mod:`cpl_edge.benchmark.schema`."""

    model: str
    megapixels: float
    size: str
    tiles: int
    threads: int
    total_seconds: float
    network_seconds: float
    peak_mb: float
    beyond_mb: float
    working_mb: float | None
    repeats: int
    quick: bool
    day: str | None


def photos(results: Results) -> Section:
    """Growth with megapixels, then seams and selections."""
    found = photo_rows(results)
    runs = newest(results)
    blocks: list[Block] = []
    if not found:
        blocks.append(Paragraph("Not measured: no photo was restored for the record."))
    for run in runs:
        blocks += _growth(run)
    if found:
        blocks.append(_table(found))
    if found and not any(len(run.rows) > 1 for run in runs):
        blocks.append(
            Paragraph("Growth from 1 to 48 megapixels: not measured, one size alone is committed.")
        )
    routing = [row for run in runs for row in run.routing]
    if routing:
        blocks.append(_routing(routing))
    else:
        blocks.append(Paragraph("Routing once per photo against routing each tile: not measured."))
    blocks.append(Commands(_COMMANDS))
    return Section("photos", "Whole photos", tuple(blocks))


def newest(results: Results) -> list[PhotoRun]:
    """The newest run of each model, a full one before any quick one."""
    best: dict[tuple[str, str], PhotoRun] = {}
    for found in results.photos:
        run = found.value
        key = (run.model, run.digest)
        rank = (run.mode == "full", run.started)
        if key not in best or rank > (best[key].mode == "full", best[key].started):
            best[key] = run
    return list(best.values())


def photo_rows(results: Results) -> list[PhotoRow]:
    """Rows of the newest runs, then photos that were measured alone."""
    rows_found = [
        PhotoRow(
            model=run.model,
            megapixels=row.megapixels,
            size=f"{row.width}x{row.height}",
            tiles=row.tiles,
            threads=row.threads,
            total_seconds=row.total_seconds,
            network_seconds=row.network_seconds,
            peak_mb=row.peak_mb,
            beyond_mb=row.beyond_mb,
            working_mb=row.working_mb,
            repeats=row.repeats,
            quick=run.mode == "quick",
            day=run.started[:10],
        )
        for run in newest(results)
        for row in run.rows
    ]
    rows_found += [
        PhotoRow(
            model=photo.model,
            megapixels=photo.megapixels,
            size=f"{photo.width}x{photo.height}",
            tiles=photo.tiles,
            threads=photo.threads,
            total_seconds=photo.total_seconds,
            network_seconds=photo.network_seconds,
            peak_mb=photo.peak_mb,
            beyond_mb=photo.peak_mb - photo.baseline_mb,
            working_mb=None,
            repeats=1,
            quick=False,
            day=photo.date[:10] if photo.date else None,
        )
        for photo in (found.value for found in results.single_photos)
    ]
    return rows_found


def _growth(run: PhotoRun) -> list[Block]:
    blocks: list[Block] = []
    quick = "QUICK RUN. " if run.mode == "quick" else ""
    if run.time_exponent is not None:
        slope = ""
        if run.memory_slope is not None:
            slope = f" Working memory grows by {run.memory_slope:.2f} MB a megapixel; 0 is flat."
        blocks.append(
            Paragraph(
                f"{quick}{run.model}: total time grows as megapixels to the power of "
                f"{run.time_exponent:.2f}; 1 is linear.{slope}"
            )
        )
    if run.notes:
        blocks.append(Listing(run.notes))
    if len(run.rows) < 2:
        return blocks
    total = [(row.megapixels, row.total_seconds) for row in run.rows]
    network = [(row.megapixels, row.network_seconds) for row in run.rows]
    first, last = run.rows[0], run.rows[-1]
    blocks.append(
        Chart(
            "Time of a photo against its size",
            lines({"total": total, "network alone": network}, "megapixels", "seconds", log=True),
            f"{quick}Both axes logarithmic. From {first.total_seconds:.2f} s at "
            f"{first.megapixels:.0f} megapixels to {last.total_seconds:.1f} s at "
            f"{last.megapixels:.0f}.",
        )
    )
    curves = {
        "working memory": [(row.megapixels, row.working_mb) for row in run.rows],
        "photo and result": [(row.megapixels, row.photo_mb) for row in run.rows],
    }
    blocks.append(
        Chart(
            "Memory of a photo against its size",
            lines(curves, "megapixels", "MB", zero=True),
            f"{quick}Beyond the opened model. Working memory goes from {first.working_mb:.0f} MB "
            f"to {last.working_mb:.0f} MB, the photo and its result from {first.photo_mb:.0f} MB "
            f"to {last.photo_mb:.0f} MB.",
        )
    )
    return blocks


def _table(found: list[PhotoRow]) -> Table:
    heads = columns(
        "model",
        "pixels",
        "megapixels #",
        "tiles #",
        "threads #",
        "total, s #",
        "network, s #",
        "total / network #",
        "s a megapixel #",
        "peak, MB #",
        "beyond runtime, MB #",
        "working, MB #",
        "repeats #",
        "remark",
    )
    cells = [
        (
            text(row.model),
            text(row.size),
            number(row.megapixels, 1),
            number(row.tiles, 0),
            number(row.threads, 0),
            number(row.total_seconds),
            number(row.network_seconds),
            number(row.total_seconds / row.network_seconds, 3),
            number(row.total_seconds / row.megapixels, 3),
            number(row.peak_mb, 0),
            number(row.beyond_mb, 0),
            number(row.working_mb, 0),
            number(row.repeats, 0),
            text("quick run", "note") if row.quick else text(row.day or "date not told"),
        )
        for row in found
    ]
    return Table("Restoring a whole photo", heads, rows(cells), "Each in a process of its own.")


def _routing(found: list[RoutingRow]) -> Table:
    heads = columns(
        "photo",
        "degraded by",
        "tiles #",
        "photo selects",
        "tiles that disagree #",
        "neighbours that differ #",
        "step across tiles, 1/255 #",
        "step inside, 1/255 #",
        "worst border, 1/255 #",
        "PSNR once per photo #",
        "PSNR tile by tile #",
    )
    cells = [
        (
            text(row.photo),
            text(row.label),
            number(row.tiles, 0),
            text(row.selected),
            percent(row.disagreeing, 1),
            percent(row.neighbours_differing, 1),
            number(row.seam_step, 3),
            number(row.inside_step, 3),
            number(row.worst_seam, 3),
            number(row.psnr_photo),
            number(row.psnr_tile),
        )
        for row in found
    ]
    note = (
        "Steps are those of the difference between both results: what stands out across tiles "
        "against inside them is a seam."
    )
    return Table("Routing once per photo against tile by tile", heads, rows(cells), note)
