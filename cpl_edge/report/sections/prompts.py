"""What the router selects for which degradation, and what other prompts would have cost."""

from __future__ import annotations

from collections.abc import Sequence

from cpl_edge.report.charts.bars import Bar, bars
from cpl_edge.report.document import (
    Block,
    Cell,
    Chart,
    Commands,
    Listing,
    Paragraph,
    Section,
    Table,
    columns,
    missing,
    number,
    rows,
    text,
)
from cpl_edge.report.formats import Evaluation, Forced, Prompts, PromptSite, model_name
from cpl_edge.report.results import Results
from cpl_edge.report.sections.quality import newest

_COMMAND = "python -m cpl_edge.evaluate --suite bundled --prompts"


def prompts(results: Results) -> Section:
    """Prompt reports, then the selections of each evaluation that lets the network select."""
    blocks: list[Block] = []
    reports = _newest_reports(results)
    for report in reports:
        blocks += _report(report)
    if not reports:
        blocks.append(Paragraph("Forced prompts and separation: not measured."))
    told = [
        e
        for e in newest(results)
        if e.model.precision == "fp32" and any(e.selected(s) for s in e.summary)
    ]
    # One colour for a degradation in all charts.
    names = sorted({name for e in told for s in e.summary for name in e.selected(s)})
    for e in told:
        blocks += _selections(e, names)
    if not told:
        blocks.append(Paragraph("Selections: not measured, no evaluation tells them."))
    blocks.append(Commands((f"{_COMMAND} --json benchmarks/results/prompts-NAME.json",)))
    return Section("prompts", "Prompt selection", tuple(blocks))


def _newest_reports(results: Results) -> list[Prompts]:
    best: dict[tuple[str, str], Prompts] = {}
    for found in results.prompts:
        key = (found.value.prompts, found.value.suite.name)
        if key not in best or (found.value.date or "") >= (best[key].date or ""):
            best[key] = found.value
    return list(best.values())


def _report(report: Prompts) -> list[Block]:
    blocks: list[Block] = [
        Paragraph(
            f"Prompts of {report.prompts} ({report.kind}) on {report.suite.name}, "
            f"{sum(report.images)} images."
        )
    ]
    if report.notes:
        blocks.append(Listing(report.notes))
    for site in report.sites:
        shares = [dict(zip(site.choices, row, strict=True)) for row in site.share_DG]
        title = f"{report.suite.name}: prompts that {report.prompts} selects at {site.name}"
        about = _verdict(site)
        blocks.append(_chart(title, report.labels, shares, site.choices, about))
    blocks.append(_forced(report, report.forced))
    return blocks


def _verdict(site: PromptSite) -> str:
    if site.separation is None:
        return "Separation: not measured."
    words = f"Separation {site.separation:.2f}: 1 tells all degradations apart, 0 is chance."
    if site.information is not None and site.chance is not None:
        words += f" Mutual information {site.information:.2f} bits, by chance {site.chance:.2f}."
    return words


def _forced(report: Prompts, forced: Forced) -> Table:
    """PSNR of every degradation under every prompt: the own one should win."""
    heads = columns(
        "degraded by",
        "before #",
        "routed #",
        *(f"as {name} #" for name in forced.columns),
        "own minus best other #",
    )
    cells = []
    for d, label in enumerate(report.labels):
        row = forced.forced_DC[d]
        best = max((value for value in row if value is not None), default=None)
        own, margin = forced.own_D[d], forced.margin_D[d]
        shown: list[Cell] = []
        for c, value in enumerate(row):
            cell = number(value, mark="good" if value is not None and value == best else "")
            shown.append(Cell(f"[{cell.text}]", cell.sort, cell.mark) if c == own else cell)
        cells.append(
            (
                text(label),
                number(forced.before_D[d]),
                number(forced.routed_D[d]),
                *shown,
                missing("has none of its own")
                if margin is None
                else number(margin, mark="" if margin > 0 else "bad", sign=True),
            )
        )
    title = f"{report.suite.name}: PSNR of {report.prompts} with forced prompts, dB"
    return Table(title, heads, rows(cells), "Its own prompts stand in brackets, the best in green.")


def _selections(e: Evaluation, names: Sequence[str]) -> list[Block]:
    told = [s for s in e.summary if e.selected(s)]
    shares = []
    for s in told:
        chosen = e.selected(s)
        shares.append({name: chosen.get(name, 0) / sum(chosen.values()) for name in names})
    title = f"{e.suite.name}: what {model_name(e.model)} selected"
    cells = [
        (text(s.label), *(number(e.selected(s).get(name, 0), 0) for name in names)) for s in told
    ]
    heads = columns("degraded by", *(f"{name} #" for name in names))
    return [
        _chart(title, [s.label for s in told], shares, names, ""),
        Table(f"{title} (images)", heads, rows(cells)),
    ]


def _chart(
    title: str,
    labels: Sequence[str],
    shares: Sequence[dict[str, float]],
    names: Sequence[str],
    about: str,
) -> Chart:
    items, most = [], []
    for label, share in zip(labels, shares, strict=True):
        first = max(share, key=lambda name: share[name])
        shown = f"{first} {share[first]:.0%}"
        items.append(Bar(label, {name: share.get(name, 0.0) for name in names}, shown))
        most.append(f"{label}: {shown}")
    words = f"Share of images. Most often, {'; '.join(most)}. {about}"
    return Chart(title, bars(items, full=1), words.strip())
