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
    """Print the summary and, where the suite has some, the published figures."""
    console.print(summary_table(evaluation))
    if evaluation.suite.published:
        console.print(published_table(evaluation))
        console.print(REMARK, style="italic")


def summary_table(evaluation: Evaluation) -> Table:
    """One line a degradation; one that got worse is said to be so."""
    suite, info = evaluation.suite, evaluation.info
    threads = f"{evaluation.threads} thread" + "s" * (evaluation.threads > 1)
    heading = f"{evaluation.model.name}, {info.target} {info.precision}, {threads}"
    if evaluation.degradation != AUTO:
        heading += f", told the degradation: {evaluation.degradation}"
    table = _table(f"{suite.name}: {suite.about}\n{heading}")
    table.add_column("degraded by")
    for column in ("n", "PSNR dB"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("gain dB", justify="right")
    if with_ssim := "ssim" in suite.metrics:
        table.add_column("SSIM", justify="right")
    table.add_column("worst image", overflow="fold")
    for column in ("routed", "ms/MP"):
        table.add_column(column, justify="right", no_wrap=True)
    for s in evaluation.summaries:
        cells: list[str | Text] = [
            s.label,
            str(s.images),
            f"{s.psnr_before:.2f} -> {s.psnr_after:.2f}",
            _gain(s.gain, " WORSE"),
        ]
        if with_ssim:
            cells.append(f"{s.ssim_before:.3f} -> {s.ssim_after:.3f}")
        cells.append(Text.assemble(f"{s.worst_image} ", _gain(s.worst_gain)))
        cells.append("-" if s.routed is None else f"{s.routed:.0%}")
        cells.append(f"{s.ms_per_megapixel:.0f}")
        table.add_row(*cells)
    return table


def published_table(evaluation: Evaluation) -> Table:
    """PSNR of papers beside ours."""
    table = _table("beside published figures (PSNR dB)")
    table.add_column("method")
    for s in evaluation.summaries:
        table.add_column(s.label, justify="right")
    ours = (f"{s.psnr_after:.2f}" for s in evaluation.summaries)
    table.add_row("this model", *ours, style="bold")
    for entry in evaluation.suite.published:
        figures = (entry.psnr.get(s.label) for s in evaluation.summaries)
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
        "summary": [_finite(asdict(s)) for s in evaluation.summaries],
        "rows": [_finite(asdict(row) | {"gain": row.gain}) for row in evaluation.rows],
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _table(title: str) -> Table:
    """A table that fits 80 columns."""
    return Table(
        title=title,
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )


def _gain(value: float, warning: str = "") -> Text:
    return Text(f"{value:+.2f}{warning}", "bold red") if value < 0 else Text(f"{value:+.2f}")


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }
