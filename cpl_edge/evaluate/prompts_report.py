"""The prompt report as tables and JSON."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cpl_edge.evaluate.prompts import ForcedReport, PromptReport, SiteReport
from cpl_edge.evaluate.report import decibels, finite, plain_table
from cpl_edge.machine import machine, versions


def print_prompts(report: PromptReport, console: Console) -> None:
    """Print a table for every site, then what forcing prompts does, each with its verdict."""
    for note in report.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    heading = f"prompts of {report.model} ({report.kind}) on {report.suite.name}"
    console.print(f"{heading}: {report.suite.about}", markup=False, highlight=False)
    for site in report.sites:
        console.print(site_table(report, site))
        console.print(site_verdict(site, len(report.labels)), markup=False, highlight=False)
    console.print(forced_table(report))
    console.print(forced_verdict(report.forced), markup=False, highlight=False)


def site_table(report: PromptReport, site: SiteReport) -> Table:
    """How often each prompt is selected for each degradation, mean weights where they differ."""
    table = plain_table(f"{site.name}: images by the prompt that weighed most (mean weight)")
    table.add_column("degraded by")
    for name in site.choices:
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("router's\nentropy", justify="right")
    if site.levels_DM:
        table.add_column("levels", justify="right", no_wrap=True)
    for d, label in enumerate(report.labels):
        cells: list[str | Text] = [label]
        for share, weight in zip(site.share_DG[d], site.weight_DG[d], strict=True):
            text = f"{share:.0%}" if share else "."
            if abs(share - weight) >= 0.005:  # a soft weight, or one that is not renormalised
                text += f" ({weight:.2f})"
            cells.append(Text(text, "bold" if share == max(site.share_DG[d]) else ""))
        cells.append(f"{site.entropy_D[d]:.2f}")
        if site.levels_DM:
            cells.append(" ".join(f"{level:.2f}" for level in site.levels_DM[d]))
        table.add_row(*cells)
    return table


def site_verdict(site: SiteReport, degradations: int) -> str:
    """Collapse or separation, in one line."""
    used = len({name for name, share in _used(site) if share > 0})
    return (
        f"separation {site.separation:.2f} (1: the selection tells the {degradations} degradations "
        f"apart, 0: no more than chance); mutual information {site.information:.2f} bits, by "
        f"chance {site.chance:.2f}; {used} of {len(site.choices)} prompts used, "
        f"usage entropy {site.usage_entropy:.2f} bits"
    )


def forced_table(report: PromptReport) -> Table:
    """PSNR of every degradation under every prompt; its own stands in brackets, the best bold."""
    forced = report.forced
    prefix = "as " if report.kind == "teacher" else ""
    table = plain_table("PSNR dB with forced prompts (own in brackets, best bold)")
    table.add_column("degraded by")
    for name in ("before", "routed", *(prefix + column for column in forced.columns)):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("margin", justify="right")
    for d, label in enumerate(report.labels):
        row = forced.forced_DC[d]
        cells: list[str | Text] = [
            label,
            decibels(forced.before_D[d]),
            decibels(forced.routed_D[d]),
        ]
        for c, value in enumerate(row):
            text = f"[{decibels(value)}]" if c == forced.own_D[d] else decibels(value)
            cells.append(Text(text, "bold" if value == max(row) else ""))
        margin = forced.margin_D[d]
        if margin is None:
            cells.append("-")
        else:
            cells.append(Text(f"{margin:+.2f}", "" if margin > 0 else "bold red"))
        table.add_row(*cells)
    return table


def forced_verdict(forced: ForcedReport) -> str:
    """Whether the right prompts win, in one line."""
    costs = [cost for cost in forced.cost_D if cost is not None]
    if not costs:
        return "no degradation of this suite has prompts of its own"
    return (
        f"the right prompts win for {forced.wins} of {forced.judged} degradations; "
        f"a wrong one costs {sum(costs) / len(costs):.2f} dB on average"
    )


def prompts_to_json(report: PromptReport) -> dict[str, Any]:
    """Everything, ready for ``json.dumps``."""
    return {
        "prompts": report.model,
        "kind": report.kind,
        "suite": report.suite.model_dump(),
        "notes": list(report.notes),
        "labels": list(report.labels),
        "images": report.images,
        "sites": [finite(asdict(site)) for site in report.sites],
        "forced": finite(asdict(report.forced)),
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _used(site: SiteReport) -> list[tuple[str, float]]:
    totals = [sum(column) for column in zip(*site.share_DG, strict=True)]
    return [*zip(site.choices, totals, strict=True)]
