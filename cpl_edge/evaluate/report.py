"""What an evaluation leaves: a table for people and JSON for machines."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cpl_edge.evaluate.run import Evaluation
from cpl_edge.machine import machine, versions
from cpl_edge.restore.restorer import AUTO

REMARK = "Training data differ: the published methods saw other and more images."


def print_tables(evaluation: Evaluation, console: Console) -> None:
    """Print the summary, LPIPS, what was selected and published figures, where there are such."""
    for note in evaluation.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    console.print(summary_table(evaluation))
    if evaluation.lpips is not None:
        console.print(lpips_table(evaluation))
    # Where every image was taken for what it is, "routed" has said it all.
    if any(s.selected and s.routed != 1 for s in evaluation.summaries):
        console.print(selection_table(evaluation))
    if evaluation.suite.published:
        console.print(published_table(evaluation))
        console.print(evaluation.suite.remark or REMARK, style="italic", markup=False)


def summary_table(evaluation: Evaluation) -> Table:
    """One line a degradation; one that got worse is said to be so."""
    suite, info = evaluation.suite, evaluation.info
    threads = f"{evaluation.threads} thread" + "s" * (evaluation.threads > 1)
    heading = f"{evaluation.model.name}, {info.target} {info.precision}, {threads}"
    if evaluation.degradation != AUTO:
        heading += f", told the degradation: {evaluation.degradation}"
    if evaluation.passes > 1:
        heading += f", up to {evaluation.passes} passes"
    table = plain_table(f"{suite.name}: {suite.about}\n{heading}")
    table.add_column("degraded by")
    for column in ("n", "PSNR dB"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("gain dB", justify="right")
    if with_ssim := "ssim" in suite.metrics:
        table.add_column("SSIM", justify="right")
    table.add_column("worst image", overflow="fold")
    if with_routed := any(s.routed is not None for s in evaluation.summaries):
        table.add_column("routed", justify="right", no_wrap=True)
    table.add_column("ms/MP", justify="right", no_wrap=True)
    for s in evaluation.summaries:
        cells: list[str | Text] = [
            s.label,
            str(s.images),
            f"{decibels(s.psnr_before)} -> {decibels(s.psnr_after)}",
            _gain(s.gain, " WORSE"),
        ]
        if with_ssim:
            cells.append(f"{s.ssim_before:.3f} -> {s.ssim_after:.3f}")
        worst = _gain(s.worst_gain) if math.isfinite(s.worst_gain) else decibels(s.worst_psnr)
        cells.append(Text.assemble(f"{s.worst_image} ", worst))
        if with_routed:
            cells.append("-" if s.routed is None else f"{s.routed:.0%}")
        cells.append(f"{s.ms_per_megapixel:.0f}")
        table.add_row(*cells)
    return table


def lpips_table(evaluation: Evaluation) -> Table:
    """Mean LPIPS: beside everything else it would not fit a narrow terminal."""
    table = plain_table("LPIPS (less is better)")
    table.add_column("degraded by")
    table.add_column("LPIPS", justify="right", no_wrap=True)
    for s in evaluation.summaries:
        table.add_row(s.label, f"{s.lpips_before:.3f} -> {s.lpips_after:.3f}")
    return table


def selection_table(evaluation: Evaluation) -> Table:
    """On how many images the model took each degradation for which."""
    table = plain_table("selected (images)")
    table.add_column("degraded by")
    names = evaluation.info.degradations
    for name in names:
        table.add_column(name, justify="right")
    for s in evaluation.summaries:
        counts = (s.selected.get(name, 0) for name in names)
        table.add_row(s.label, *(str(count) if count else "." for count in counts))
    return table


def published_table(evaluation: Evaluation) -> Table:
    """PSNR of papers beside ours; our average only where nothing was left out."""
    suite, summaries = evaluation.suite, evaluation.summaries
    table = plain_table("beside published figures (PSNR dB)")
    table.add_column("method")
    # A paper that gives its average alone has nothing to stand in the other columns.
    shown = [s for s in summaries if any(s.label in entry.psnr for entry in suite.published)]
    with_average = any(entry.average is not None for entry in suite.published)
    for s in shown:
        table.add_column(s.label, justify="right")
    ours = [decibels(s.psnr_after) for s in shown]
    if with_average:
        table.add_column("average", justify="right")
        after = [s.psnr_after for s in summaries]
        ours.append("-" if evaluation.notes else decibels(math.fsum(after) / len(after)))
    table.add_row("this model", *ours, style="bold")
    for entry in suite.published:
        figures = [entry.psnr.get(s.label) for s in shown] + [entry.average] * with_average
        table.add_row(entry.method, *("-" if f is None else f"{f:.2f}" for f in figures))
    return table


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything of one evaluation, ready for ``json.dumps``; an infinite PSNR becomes null.

    Of the model file the name is told, its folder is not.
    """
    return {
        "suite": evaluation.suite.model_dump(),
        "model": {"file": evaluation.model.name, **asdict(evaluation.info)},
        "degradation": evaluation.degradation,
        "threads": evaluation.threads,
        "limit": evaluation.limit,
        "passes": evaluation.passes,
        "lpips": evaluation.lpips,
        "notes": list(evaluation.notes),
        "summary": [finite(asdict(s)) for s in evaluation.summaries],
        "rows": [finite(asdict(row) | {"gain": row.gain}) for row in evaluation.rows],
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def plain_table(title: str) -> Table:
    """A table that fits 80 columns."""
    return Table(
        title=title,
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )


def decibels(value: float) -> str:
    """Two digits; "same" for the infinity of equal images."""
    return f"{value:.2f}" if math.isfinite(value) else "same"


def _gain(value: float, warning: str = "") -> Text:
    if not math.isfinite(value):  # nothing was wrong with the image: PSNR before is infinite
        return Text("-")
    return Text(f"{value:+.2f}{warning}", "bold red") if value < 0 else Text(f"{value:+.2f}")


def finite(values: Any) -> Any:
    """A copy for JSON, which knows no infinity: null takes its place, at any depth."""
    if isinstance(values, dict):
        return {key: finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
