"""The same thing measured again: what became better, what became worse.

Seconds of different machines say nothing about a build. So latency is compared between runs of one
machine only, by :func:`cpl_edge.benchmark.compare.compare`, each build against a peer of its run.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from cpl_edge.benchmark.compare import Change, compare
from cpl_edge.benchmark.schema import LatencyRun
from cpl_edge.errors import UserError
from cpl_edge.report.document import (
    Block,
    Cell,
    Commands,
    Mark,
    Paragraph,
    Section,
    Table,
    columns,
    missing,
    number,
    rows,
    text,
)
from cpl_edge.report.formats import model_name
from cpl_edge.report.results import Found, Results
from cpl_edge.report.sections.origins import machine_key

DECIBELS = 0.05
"""A suite's mean that falls by more than this is a regression."""
RATIO = 1.05
"""A build that surely takes this many times longer, against a peer, is a regression."""


@dataclass(frozen=True)
class Entry:
    """One measurement of quality: what, when, where, and the PSNR in decibels."""

    what: tuple[str, ...]
    when: str
    file: str
    digest: str
    psnr: float


@dataclass(frozen=True)
class Pair:
    """Two neighbouring latency runs of one machine, and what changed, or why that is not known."""

    first: Found[LatencyRun]
    second: Found[LatencyRun]
    changes: tuple[Change, ...]
    reason: str = ""

    @property
    def quick(self) -> bool:
        """Whether either is too short to be judged by."""
        return "quick" in (self.first.value.mode, self.second.value.mode)


def history(results: Results) -> Section:
    """Quality, then latency; only what was measured more than once."""
    blocks: list[Block] = []
    again, pairs = list(_quality(results)), list(_latency(results))
    if again:
        blocks.append(_quality_table(again))
    else:
        blocks.append(Paragraph("Quality: no suite was measured twice for one build yet."))
    if any(pair.changes for pair in pairs):
        blocks.append(_latency_table(pairs))
    elif not pairs:
        blocks.append(Paragraph("Latency: no two runs of one machine are committed yet."))
    blocks += [
        Paragraph(f"{pair.first.file} and {pair.second.file} cannot be compared: {pair.reason}.")
        for pair in pairs
        if pair.reason
    ]
    blocks.append(
        Paragraph(
            f"A regression is a mean that fell by more than {DECIBELS} dB, or a build that takes "
            f"more than {RATIO - 1:.0%} longer against a peer of the same run, with an interval "
            "above 1. Quick runs are not judged."
        )
    )
    blocks.append(Commands(("python -m cpl_edge.benchmark --compare OLD.json NEW.json",)))
    return Section("history", "History", tuple(blocks))


def regressions(results: Results) -> list[str]:
    """One line for each newest measurement that is worse than the one before."""
    lines = []
    for group in _quality(results):
        before, now = group[-2:]
        if before.psnr - now.psnr > DECIBELS:
            lines.append(f"{', '.join(now.what)}: {now.psnr - before.psnr:+.2f} dB in {now.file}")
    newest = {machine_key(p.second.value.machine): p for p in _latency(results) if not p.quick}
    for pair in newest.values():
        lines += [
            f"{change.label}, threads: {change.threads}: {change.found.ratio:.2f} times the time "
            f"in {pair.second.file}"
            for change in pair.changes
            if change.is_regression and change.found
        ]
    return lines


def _quality(results: Results) -> Iterator[list[Entry]]:
    """Measurements of one thing, oldest first, where there are two or more."""
    found: dict[tuple[str, ...], list[Entry]] = {}
    for item in results.evaluations:
        e = item.value
        for s in e.summary:
            if s.psnr_after is not None and not e.limit:
                how = f"routing {e.degradation}" + f", up to {e.passes} passes" * (e.passes > 1)
                what = (model_name(e.model), e.suite.name, s.label, how)
                entry = Entry(what, e.date or "", item.file, e.model.digest, s.psnr_after)
                found.setdefault(what, []).append(entry)
    for group in found.values():
        if len(group) > 1:
            yield sorted(group, key=lambda entry: entry.when)


def _latency(results: Results) -> Iterator[Pair]:
    """Neighbouring runs of each machine; full runs among themselves, quick ones after them."""
    machines: dict[tuple[str, str], list[Found[LatencyRun]]] = {}
    for found in results.latency:
        key = (machine_key(found.value.machine), found.value.mode)
        machines.setdefault(key, []).append(found)
    for runs in machines.values():
        runs.sort(key=lambda found: found.value.started)
        for first, second in itertools.pairwise(runs):
            try:
                changes = compare(first.value, second.value, RATIO)
            except UserError as error:
                yield Pair(first, second, (), str(error))
            else:
                yield Pair(first, second, tuple(changes))


def _quality_table(groups: list[list[Entry]]) -> Table:
    heads = columns(
        "build", "suite", "degraded by", "when", "weights", "PSNR #", "change #", "verdict", "file"
    )
    cells: list[tuple[Cell, ...]] = []
    for group in groups:
        before: Entry | None = None
        for entry in group:
            change, verdict = missing("first"), missing("first")
            if before is not None:
                change = number(entry.psnr - before.psnr, 2, sign=True)
                verdict = _judged(entry.psnr - before.psnr)
            name, suite, label, _ = entry.what
            cells.append(
                (
                    text(name),
                    text(suite),
                    text(label),
                    text(entry.when[:16].replace("T", " ") or None),
                    text(entry.digest[:8]),
                    number(entry.psnr),
                    change,
                    verdict,
                    text(entry.file),
                )
            )
            before = entry
    return Table("Quality, measured again (dB)", heads, rows(cells))


def _judged(change: float) -> Cell:
    mark: Mark = "bad" if change < -DECIBELS else "good" if change > DECIBELS else ""
    words = {"bad": "REGRESSION", "good": "better", "": "the same"}
    return text(words[mark], mark)


def _latency_table(pairs: list[Pair]) -> Table:
    heads = columns(
        "build", "threads #", "times the time #", "95 % interval", "verdict", "before", "after"
    )
    marks: dict[str, Mark] = {"slower": "bad", "slower?": "note", "faster": "good"}
    cells: list[tuple[Cell, ...]] = []
    for pair in pairs:
        for change in pair.changes:
            found = change.found
            verdict = text(
                "REGRESSION: slower" if change.is_regression else change.verdict,
                marks.get(change.verdict, ""),
            )
            if pair.quick:
                verdict = text(f"{change.verdict} (quick runs, not judged)", "note")
            cells.append(
                (
                    text(change.label),
                    number(change.threads, 0),
                    number(found.ratio if found else None, 3),
                    Cell(f"{found.low:.3f} to {found.high:.3f}", found.low) if found else missing(),
                    verdict,
                    text(pair.first.file),
                    text(pair.second.file),
                )
            )
    note = "Each build against a peer of its own run: 1.1 is 10 % slower than before."
    return Table("Latency, measured again", heads, rows(cells), note)
