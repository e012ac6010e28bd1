"""The report as Markdown: the same sections and tables, charts as the words that stand for them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpl_edge.report.document import (
    Block,
    Cell,
    Chart,
    Commands,
    Crops,
    Details,
    Document,
    Figures,
    Listing,
    Paragraph,
    Table,
)

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def to_markdown(document: Document) -> str:
    """Write a report as GitHub reads it."""
    lines = [f"# {plain(document.title)}", "", plain(document.lead)]
    for section in document.sections:
        lines += ["", f"## {plain(section.title)}"]
        for block in section.blocks:
            lines += ["", *_block(block, 3)]
    return "\n".join(lines) + "\n"


def plain(words: str) -> str:
    """Text whose characters mean nothing but themselves, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(words.split()))


def _block(block: Block, level: int) -> Iterator[str]:
    head = "#" * level
    if isinstance(block, Paragraph):
        yield plain(block.text)
    elif isinstance(block, Listing):
        yield from (f"- {plain(item)}" for item in block.items)
    elif isinstance(block, Figures):
        yield from (f"- **{plain(n)}**: {plain(v)} ({plain(r)})" for n, v, r in block.items)
    elif isinstance(block, Commands):
        yield from (f"    {line}" for line in block.lines)
    elif isinstance(block, Chart):
        yield f"{head} {plain(block.title)}"
        yield ""
        yield f"Chart, drawn in the HTML report. {plain(block.about)}"
    elif isinstance(block, Table):
        yield from _table(block, head)
    elif isinstance(block, Crops):
        yield from (f"- {plain(c.title)}. {plain(c.caption)}" for c in block.items)
        yield "- The pictures are in the HTML report."
    elif isinstance(block, Details):
        yield f"{head} {plain(block.summary)}"
        for inner in block.blocks:
            yield ""
            yield from _block(inner, level + 1)


def _table(table: Table, head: str) -> Iterator[str]:
    yield f"{head} {plain(table.title)}"
    yield ""
    yield _line(plain(column.title) for column in table.columns)
    yield _line("---:" if column.numeric else "---" for column in table.columns)
    for row in table.rows:
        yield _line(_cell(cell) for cell in row)
    if table.note:
        yield ""
        yield plain(table.note)


def _cell(cell: Cell) -> str:
    words = plain(cell.text)
    if words and cell.mark == "bad":
        return f"**{words}**"
    if words and cell.mark in ("missing", "note"):
        return f"*{words}*"
    return words


def _line(cells: Iterator[str]) -> str:
    return "| " + " | ".join(cells) + " |"
