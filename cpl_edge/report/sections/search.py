"""Students that were searched among: candidates trained on one budget, cost against worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import mean, median

from cpl_edge.report.charts.scatter import Point, front, scatter
from cpl_edge.report.document import (
    Block,
    Cell,
    Chart,
    Commands,
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
from cpl_edge.report.formats import CandidateRun, Search
from cpl_edge.report.results import Results

_COMMAND = "python -m cpl_edge.search --suite NAME --data FOLDER --results benchmarks/results"


def search(results: Results) -> Section:
    """A plot and a table for each search."""
    blocks: list[Block] = []
    for found in results.searches:
        blocks += _one(found.value)
    if not blocks:
        blocks.append(Paragraph("Not measured: no search over students is committed."))
    blocks.append(Commands((_COMMAND,)))
    return Section("search", "Search over students", tuple(blocks))


def _one(found: Search) -> list[Block]:
    steps = found.runs[0].steps if found.runs else 0
    blocks: list[Block] = [
        Paragraph(
            f"{found.name}: {found.about}. {len(found.runs)} of {found.planned} runs of "
            f"{steps:,} steps on {found.images} images; PSNR over {found.crops} held-out crops of "
            f"{found.side}x{found.side}, mean over seeds. Short trainings: they tell candidates "
            "apart, not what a student is worth."
        )
    ]
    by_name = {
        name: runs
        for name in dict.fromkeys(run.candidate for run in found.runs)
        if (runs := [run for run in found.runs if run.candidate == name])
    }
    if not by_name:
        return blocks
    seen = [c.label for c in found.conditions if c.seen] or [c.label for c in found.conditions]
    targets = sorted({target for run in found.runs for target in run.latency_ms})
    worth = {name: _over(runs, lambda run: _psnr(run, seen)) for name, runs in by_name.items()}
    cost, title = _cost(by_name, targets)
    points = [
        Point(cost[name], round(y, 3), name, "student", "candidate", f"{name}: {y:.2f} dB")
        for name, y in worth.items()
        if y is not None and cost.get(name)
    ]
    if len(points) > 1:
        best = ", ".join(point.name for point in front(points))
        y_title = "PSNR, mean of the degradations seen (dB)"
        about = f"{len(points)} candidates. Nothing beats in both: {best}."
        blocks.append(
            Chart(f"{found.name}: worth against cost", scatter(points, title, y_title), about)
        )
    blocks.append(_table(found, by_name, worth, targets))
    return blocks


def _cost(
    by_name: dict[str, list[CandidateRun]], targets: Sequence[str]
) -> tuple[dict[str, float], str]:
    """Milliseconds of the target that most candidates were timed on, else MACs."""
    timed = {
        target: {
            name: median(run.latency_ms[target] for run in runs if target in run.latency_ms)
            for name, runs in by_name.items()
            if any(target in run.latency_ms for run in runs)
        }
        for target in targets
    }
    target = max(timed, key=lambda t: (len(timed[t]), "w8a8" in t), default=None)
    if target is not None and len(timed[target]) > 1:
        return timed[target], f"{target}, ms at 256x256"
    return {name: runs[0].macs / 1e6 for name, runs in by_name.items()}, "MMAC at 256x256"


def _table(
    found: Search,
    by_name: dict[str, list[CandidateRun]],
    worth: dict[str, float | None],
    targets: Sequence[str],
) -> Table:
    heads = columns(
        "candidate",
        "seeds #",
        "mean seen, dB #",
        "spread of seeds, dB #",
        "named right #",
        "parameters #",
        "GMAC #",
        *(f"{target}, ms #" for target in targets),
        *(f"{c.label}{'' if c.seen else ' (unseen)'}, dB #" for c in found.conditions),
        "what it is",
    )
    seen = [c.label for c in found.conditions if c.seen]
    cells: list[list[Cell]] = []
    for name, runs in by_name.items():
        each = [y for run in runs if (y := _psnr(run, seen)) is not None]
        cells.append(
            [
                text(name),
                number(len(runs), 0),
                number(worth[name]),
                number(max(each) - min(each)) if len(each) > 1 else missing("one seed"),
                percent(_over(runs, lambda run: _right(run, seen))),
                number(runs[0].parameters, 0),
                number(runs[0].macs / 1e9),
                *(number(_over(runs, partial(_ms, target=target))) for target in targets),
                *(
                    number(_over(runs, partial(_psnr, labels=[condition.label])))
                    for condition in found.conditions
                ),
                text(found.about_candidates.get(name)),
            ]
        )
    return Table(f"{found.name}: candidates", heads, rows(cells))


def _ms(run: CandidateRun, target: str) -> float | None:
    return run.latency_ms.get(target)


def _psnr(run: CandidateRun, labels: Sequence[str]) -> float | None:
    values = [f.psnr for f in run.figures if f.condition in labels and f.psnr is not None]
    return mean(values) if values else None


def _right(run: CandidateRun, labels: Sequence[str]) -> float | None:
    values = [f.right for f in run.figures if f.condition in labels and f.right is not None]
    return mean(values) if values else None


def _over(
    runs: Sequence[CandidateRun], figure: Callable[[CandidateRun], float | None]
) -> float | None:
    values = [value for run in runs if (value := figure(run)) is not None]
    return mean(values) if values else None
