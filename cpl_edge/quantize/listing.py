"""The table target x precision for people."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from cpl_edge.quantize.support import PRECISIONS, REMARKS, SUPPORT


def show_support() -> None:
    """Print what is supported, below it why the rest is not, and what to know of some."""
    console = Console()
    # Borders would not fit 80 characters.
    table = Table("target", *PRECISIONS, box=box.SIMPLE, padding=(0, 1, 0, 0))
    for target, precisions in SUPPORT.items():
        table.add_row(target, *("no" if precisions[p] else "yes" for p in PRECISIONS))
    console.print(table)
    for target, precisions in SUPPORT.items():
        for precision, reason in precisions.items():
            if reason:
                console.print(f"{target} {precision}: {reason}", soft_wrap=True)
    for (target, precision), remark in REMARKS.items():
        console.print(f"{target} {precision}: {remark}", soft_wrap=True)
