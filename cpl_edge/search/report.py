"""What a search says: Markdown tables, the same on the terminal, and two plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

from cpl_edge.cli import write_json
from cpl_edge.search.plots import front, selections
from cpl_edge.search.results import Run, SearchResult, separation

Rows = list[list[str]]


def write_report(result: SearchResult, folder: Path) -> None:
    """Write ``NAME.json``, ``NAME.md``, ``NAME-front.svg`` and ``NAME-selection.svg``."""
    write_json(folder / f"{result.name}.json", result.model_dump(mode="json"))
    (folder / f"{result.name}.md").write_text(markdown(result), encoding="utf-8")
    (folder / f"{result.name}-front.svg").write_text(front(result), encoding="utf-8")
    if has_selections(result):
        picture = selections(result)
        (folder / f"{result.name}-selection.svg").write_text(picture, encoding="utf-8")


def has_selections(result: SearchResult) -> bool:
    """Whether any run has a router that learned."""
    return any(run.figures[0].weights for run in result.runs)


def print_report(result: SearchResult) -> None:
    """Print the tables."""
    console = Console(width=None if Console().is_terminal else 200)
    for title, rows in tables(result):
        table = RichTable(title=title, title_justify="left")
        for n, heading in enumerate(rows[0]):
            table.add_column(heading, justify="right" if n else "left")
        for row in rows[1:]:
            table.add_row(*row)
        console.print(table)


def markdown(result: SearchResult) -> str:
    """The tables as Markdown, with what a reader must know about them."""
    done = f"{len(result.runs)} of {result.planned} runs"
    steps = result.runs[0].steps if result.runs else 0
    lines = [
        f"# {result.name}",
        "",
        f"{result.about}",
        "",
        f"{done}, {steps} steps each, trained on {result.images} images; {result.crops} held-out "
        f"crops of {result.side}x{result.side}. PSNR in dB, mean over seeds; behind ± half the "
        "distance of the best and the worst seed. Differences smaller than that say nothing.",
    ]
    for title, rows in tables(result):
        lines += ["", f"## {title}", "", _row(rows[0]), "|---|" + "---:|" * (len(rows[0]) - 1)]
        lines += [_row(row) for row in rows[1:]]
    if why_not := {run.candidate: run.not_exported for run in result.runs if run.not_exported}:
        lines += ["", "No milliseconds:", ""]
        lines += [f"- {name}: {reason}" for name, reason in why_not.items()]
    lines += ["", f"![Quality against cost]({result.name}-front.svg)"]
    if has_selections(result):
        lines += ["", f"![Selected prompts]({result.name}-selection.svg)"]
    lines += ["", "## Rank agreement", ""]
    lines += _agreement(result)
    return "\n".join(lines) + "\n"


def tables(result: SearchResult) -> list[tuple[str, Rows]]:
    """Title and rows of each table, the first row being the headings."""
    labels = [c["label"] for c in result.conditions]
    seen = [c["label"] for c in result.conditions if c["seen"]]
    found = [(name, runs) for name in result.about_candidates if (runs := result.of(name))]
    if not found:
        return []
    routed = [["candidate", "mean seen", *labels]]
    routed.append(["input", *_inputs(result, found[0][1][0], labels)])
    told = [["candidate", "mean seen", *labels]]
    costs = [
        ["candidate", "seeds", "parameters", "MMAC", "s", "named right", "separation", "what it is"]
    ]
    targets = sorted({target for _, runs in found for run in runs for target in run.latency_ms})
    costs[0][5:5] = [f"{target} ms" for target in targets]
    contrasts = any(run.mean(result.seen, "wrong") is not None for run in result.runs)
    if contrasts:
        costs[0].insert(-1, "wrong prompts, dB")
    for name, runs in found:
        columns: list[Callable[[Run], float | None]] = [lambda run: run.mean(result.seen)]
        columns += [lambda run, label=label: run.figure(label).routed for label in labels]  # type: ignore[misc]
        row = [name, *(_over_seeds(runs, column) for column in columns)]
        if any(cell != "" for cell in row[1:]):
            routed.append(row)
        columns = [lambda run: run.mean(result.seen, "told")]
        columns += [lambda run, label=label: _told(run, label) for label in labels]  # type: ignore[misc]
        row = [name, *(_over_seeds(runs, column) for column in columns)]
        if any(cell != "" for cell in row[1:]):
            told.append(row)
        costs.append(
            [
                name,
                str(len(runs)),
                f"{runs[0].parameters:,}",
                f"{runs[0].macs / 1e6:.0f}",
                f"{np.mean([run.seconds for run in runs]):.0f}",
                *(_latency(runs, target) for target in targets),
                _over_seeds(runs, lambda run: _right(run, seen), 3),
                _over_seeds(runs, lambda run: separation(run, result.conditions), 3),
                *([_over_seeds(runs, lambda run: run.mean(result.seen, "wrong"))] * contrasts),
                result.about_candidates[name],
            ]
        )
    made = [("Routed by itself", routed)]
    if len(told) > 1:
        made.append(
            ("Told the degradation (without a true one: the best prompt of each crop)", told)
        )
    return [*made, ("Cost and routing", costs)]


def _inputs(result: SearchResult, run: Run, labels: Sequence[str]) -> list[str]:
    means = [run.mean(result.seen, "input"), *(run.figure(label).input for label in labels)]
    return [f"{mean:.2f}" for mean in means if mean is not None]


def _told(run: Run, label: str) -> float | None:
    figure = run.figure(label)
    return figure.best if figure.told is None else figure.told


def _right(run: Run, labels: Sequence[str]) -> float | None:
    shares = [share for label in labels if (share := run.figure(label).right) is not None]
    return float(np.mean(shares)) if shares else None


def _over_seeds(runs: Sequence[Run], figure: Callable[[Run], float | None], digits: int = 2) -> str:
    values = [value for run in runs if (value := figure(run)) is not None]
    if not values:
        return ""
    spread = f" ± {(max(values) - min(values)) / 2:.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def _latency(runs: Sequence[Run], target: str) -> str:
    values = [run.latency_ms[target] for run in runs if target in run.latency_ms]
    return f"{np.median(values):.2f}" if values else ""


def _agreement(result: SearchResult) -> list[str]:
    if not result.agreement:
        return ["Not enough runs."]
    lines = [
        "Order of the candidates by their validation in the course of training, against that at "
        "the end (Spearman). The learning rate has not come down yet at these points, so a run "
        "of that length alone would look better.",
        "",
        "| part of the budget | Spearman | same best |",
        "|---|---:|---|",
    ]
    for agreement in result.agreement:
        rho = "" if agreement.spearman is None else f"{agreement.spearman:.2f}"
        lines.append(f"| {agreement.part:.0%} | {rho} | {'yes' if agreement.best_kept else 'no'} |")
    return lines


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
