"""The table target x precision for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from cpl_edge.quantize.support import PRECISIONS, SUPPORT


def show_support() -> None:
    """Print what is supported, and below it why the rest is not."""
    console = Console()
    table = Table("target", *PRECISIONS)
    for target, precisions in SUPPORT.items():
        table.add_row(target, *("no" if precisions[p] else "yes" for p in PRECISIONS))
    console.print(table)
    for target, precisions in SUPPORT.items():
        for precision, reason in precisions.items():
            if reason:
                console.print(f"{target} {precision}: {reason}", soft_wrap=True)
