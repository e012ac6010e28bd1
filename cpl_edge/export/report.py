"""What the command prints: a table of gates, and a line for each build."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from cpl_edge.export.build import Outcome
    from cpl_edge.export.gate import GateResult

_STATES = {
    True: Text("passed", style="green"),
    False: Text("FAILED", style="bold red"),
    None: Text("not run", style="yellow"),
}


def show(outcomes: Sequence[Outcome]) -> None:
    """Print the gates of each build and where it lies."""
    console = Console()
    for outcome in outcomes:
        card = outcome.card
        info = card["info"]
        title = f"{info['student']} for {info['target']}, {info['precision']}, {info['routing']}"
        table = Table("gate", "figure", "limit", "", "remark", title=title, title_justify="left")
        for result in outcome.results:
            figure, limit = as_text(result.figure), as_text(result.limit)
            table.add_row(result.name, figure, limit, _STATES[result.passed], result.why)
        console.print(table)
        times = "".join(f", {name} {ms} ms" for name, ms in card.get("latency_ms", {}).items())
        place = outcome.folder or "not kept"
        console.print(
            f"{place}: {card['bytes'] / 1e6:.2f} MB{times}; made in {outcome.seconds:.0f} s",
            soft_wrap=True,
        )


def refusal(result: GateResult) -> str:
    """One line that names a failed gate, its figure, its limit and the likely cause."""
    return (
        f"gate {result.name}: {as_text(result.figure)}, limit {as_text(result.limit)}: {result.why}"
    )


def as_text(value: float | str | None) -> str:
    """A figure or limit for people."""
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
