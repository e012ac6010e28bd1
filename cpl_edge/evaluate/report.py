"""What an evaluation leaves: a table for people and JSON for machines."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cpl_edge import __version__
from cpl_edge.evaluate.run import Evaluation
from cpl_edge.restore.restorer import AUTO

PACKAGES = (
    "numpy",
    "pillow",
    "scikit-image",
    "ai-edge-litert",
    "onnxruntime",
    "executorch",
    "torch",
)
"""Packages whose versions may move a figure."""

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
    table = Table(title=f"{suite.name}: {suite.about}\n{heading}", title_justify="left")
    table.add_column("degradation")
    for column in ("images", "PSNR dB", "gain dB"):
        table.add_column(column, justify="right")
    if with_ssim := "ssim" in suite.metrics:
        table.add_column("SSIM", justify="right")
    table.add_column("worst image")
    table.add_column("routed", justify="right")
    table.add_column("ms/MP", justify="right")
    for s in evaluation.summaries:
        cells: list[str | Text] = [
            s.label,
            str(s.images),
            f"{s.psnr_before:.2f} -> {s.psnr_after:.2f}",
            _gain(s.gain),
        ]
        if with_ssim:
            cells.append(f"{s.ssim_before:.4f} -> {s.ssim_after:.4f}")
        cells.append(Text.assemble(f"{s.worst_image} ", _gain(s.worst_gain)))
        cells.append("-" if s.routed is None else f"{s.routed:.0%}")
        cells.append(f"{s.ms_per_megapixel:.0f}")
        table.add_row(*cells)
    return table


def published_table(evaluation: Evaluation) -> Table:
    """PSNR of papers beside ours."""
    table = Table(title="beside published figures (PSNR dB)", title_justify="left")
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


def machine() -> dict[str, Any]:
    """What a latency depends on; nothing that tells whose machine it is."""
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Version of this product and of each package of :data:`PACKAGES` that is installed."""
    found = {"cpl-edge": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    """Name of the processor; Python does not know it on Linux, the kernel does."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _gain(value: float) -> Text:
    if value < 0:
        return Text(f"{value:+.2f} WORSE", style="bold red")
    return Text(f"{value:+.2f}")


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }
